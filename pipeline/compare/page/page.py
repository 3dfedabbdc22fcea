"""The comparison as one HTML page that needs no network: plotly.js, images and data are inside.

The texts of runs come from a server. They are embedded as JSON without any `<`, `>` or `&`; the page inserts them as
text, never as HTML; and its Content-Security-Policy lets no script run but plotly's and the page's own.
"""

import base64
import hashlib
import io
import math
import zlib
from collections.abc import Sequence
from importlib import resources
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup
from PIL import Image
from plotly.offline import get_plotlyjs  # type: ignore[import-untyped]

from pipeline.compare.analysis import Analysis, Differences
from pipeline.compare.examples import ComparedImage
from pipeline.compare.parallel_coordinates import parallel_axes
from pipeline.compare.runs import (
    BEST_EPOCH,
    CLASS_SCORES,
    CURVE,
    PARAMETERS,
    TEST,
    TEST_SCORES,
    run_colour,
)
from pipeline.compare.table import Replicates, repeated
from pipeline.config.keys import short_names
from pipeline.evaluate.overlay import CONFUSED, FALSE, MISSED
from pipeline.runtime.text import short_value

SCRIPTS = ("page.js", "charts.js", "drawing.js", "gestures.js", "grid.js", "controls.js")  # in the order they run


def page(analysis: Analysis) -> str:
    """The page as HTML text."""
    files = resources.files("pipeline.compare.page")
    style = (files / "page.css").read_text("utf-8")
    script = "\n".join((files / name).read_text("utf-8") for name in SCRIPTS)
    plotly = get_plotlyjs()
    # Only these two scripts may run, nothing may be loaded from elsewhere or sent anywhere. Plotly sets inline styles.
    policy = (
        f"default-src 'none'; script-src {_hash_source(plotly)} {_hash_source(script)}; style-src 'unsafe-inline'; "
        "img-src data: blob:; form-action 'none'"
    )
    environment = Environment(
        loader=PackageLoader("pipeline.compare.page", ""), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("page.html").render(
        title=f"Comparison: {analysis.title}",
        policy=policy,
        data=as_json(page_data(analysis)),
        # Files of this program and of plotly, which must stay as they are: the policy has their hashes.
        style=Markup(style),
        plotly=Markup(plotly),
        script=Markup(script),
    )


def as_json(data: Any) -> Markup:
    """JSON that is safe inside a <script> element: no character in it has a meaning in HTML.

    Raises:
        ValueError: a number is not finite.
    """
    return htmlsafe_json_dumps(data, allow_nan=False, separators=(",", ":"))


def page_data(analysis: Analysis) -> dict[str, Any]:
    """What the page's scripts read; missing values are null."""
    short = short_names(analysis.varying)
    images = analysis.images
    return {
        "title": analysis.title,
        "command": analysis.command,
        "notes": list(analysis.notes),
        "classes": list(analysis.classes.names),
        "background": analysis.classes.background,
        "classNames": _class_names(analysis),
        "testScores": [
            {"name": name, "metric": metric}
            for name, metric in TEST_SCORES.items()
            if any(run.score(metric) is not None for run in analysis.runs)
        ],
        "classScores": [name for name in CLASS_SCORES if any(name in run.class_scores for run in analysis.runs)],
        "palette": [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in analysis.classes.palette.tolist()],
        "errorColours": {"missed": MISSED, "false": FALSE, "confused": CONFUSED},
        "varying": [{"key": key, "short": short[key]} for key in analysis.varying],
        "runs": [_run_data(analysis, place) for place in range(len(analysis.runs))],
        "repeated": repeated(analysis.varying),
        "replicates": [_replicates_data(group) for group in analysis.replicates],
        "importances": [[short[key], value] for key, value in analysis.importances.items()],
        "parallel": [
            {"name": axis.name, "heights": list(axis.heights), "ticks": [list(tick) for tick in axis.ticks]}
            for axis in parallel_axes(analysis.runs, analysis.varying)
        ],
        "differences": _differences_data(analysis.differences),
        "epochs": images.epochs,
        "test": [_image_data(image) for image in images.test],
        "val": [_image_data(image) for image in images.val],
    }


def _run_data(analysis: Analysis, place: int) -> dict[str, Any]:
    run = analysis.runs[place]
    params = [run.params.get(key) for key in analysis.varying]
    return {
        "id": run.run_id,
        "name": run.name,
        "heading": analysis.headings[place],
        "params": [None if value is None else short_value(value) for value in params],
        "status": "pruned" if run.pruned else run.status.lower(),
        "failure": run.failure[:300],
        "val": run.val,
        "test": run.score(TEST),
        "bestEpoch": run.score(BEST_EPOCH),
        "minutes": None if run.seconds is None else run.seconds / 60,
        "parameters": run.score(PARAMETERS),
        "best": run is analysis.best,
        "colour": run_colour(place),
        "column": list(analysis.columns).index(place) if place in analysis.columns else None,
        "curve": [[epoch, number(value)] for epoch, value in sorted(run.curves.get(CURVE, {}).items())],
        "testScores": {name: run.score(metric) for name, metric in TEST_SCORES.items()},
        "classScores": {
            name: [number(scores.get(label)) for label in _class_names(analysis)]
            for name, scores in run.class_scores.items()
        },
    }


def _replicates_data(group: Replicates) -> dict[str, Any]:
    return {
        "params": [[key, short_value(value)] for key, value in group.params.items()],
        "count": len(group.run_ids),
        "val": group.val,
        "test": group.test,
    }


def _differences_data(differences: Differences | None) -> dict[str, Any] | None:
    if differences is None:
        return None
    return {
        "images": differences.images,
        "runs": list(differences.runs),
        "difference": numbers(differences.difference),
        "low": numbers(differences.low),
        "high": numbers(differences.high),
    }


def _image_data(image: ComparedImage) -> dict[str, Any]:
    return {
        "id": image.image_id,
        "height": image.size[0],
        "width": image.size[1],
        "photograph": jpeg_uri(image.photograph),
        "truth": packed(image.truth),
        "disagreement": number(image.gap),
        "masks": {str(epoch): [packed(mask) for mask in masks] for epoch, masks in image.masks.items()},
        "ious": {str(epoch): numbers(ious) for epoch, ious in image.ious.items()},
    }


def number(value: float | None) -> float | None:
    """The number rounded to 6 decimals; None if it is not finite."""
    return None if value is None or not math.isfinite(value) else round(float(value), 6)


def numbers(values: np.ndarray) -> Any:
    """An array as nested lists, each element by `number`."""
    return [numbers(part) for part in values] if values.ndim else number(float(values))


def packed(mask: np.ndarray | None) -> str | None:
    """The indices of a mask, row by row, deflated, in base64.

    An image file would not do: some browsers change the pixels that scripts read from a canvas, to prevent tracking.
    """
    return None if mask is None else base64.b64encode(zlib.compress(mask.tobytes(), 9)).decode()


def jpeg_uri(photograph: Image.Image | None) -> str | None:
    """The pixels of a photograph as a data: URI of a JPEG, without any metadata of its file."""
    if photograph is None:
        return None
    file = io.BytesIO()
    bare = Image.fromarray(np.asarray(photograph))  # Pillow would copy a file's comment
    bare.save(file, "JPEG", quality=90, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _class_names(analysis: Analysis) -> Sequence[str]:
    """The classes of the configuration; without one, those in the runs' tables of scores."""
    if analysis.classes.names:
        return analysis.classes.names
    tables = [scores for run in analysis.runs for scores in run.class_scores.values()]
    return list(dict.fromkeys(name for table in tables for name in table))


def _hash_source(script: str) -> str:
    """A script as a Content-Security-Policy allows it: by its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
