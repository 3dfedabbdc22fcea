"""The comparison as one HTML page that needs no network: plotly.js, images and data are inside.

Run texts come from a server. They travel as JSON in which no `<`, `>` or `&` is left, the page puts them in place as
text, never as HTML, and its policy lets no script run but the two that are written here.
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

from pipeline.compare.analysis import Analysis
from pipeline.compare.colours import run_colour
from pipeline.compare.examples import ComparedImage
from pipeline.compare.parallel_coordinates import parallel_axes
from pipeline.compare.runs import BEST_EPOCH, CURVE, PARAMETERS, TEST
from pipeline.config.keys import short_names
from pipeline.data.palette import voc_palette
from pipeline.evaluate.overlay import CONFUSED, FALSE, MISSED
from pipeline.runtime.text import short_value

SCRIPTS = ("page.js", "charts.js", "drawing.js", "gestures.js", "grid.js", "controls.js")  # in the order they run


def page(answer: Analysis) -> str:
    """The whole page as text."""
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
        title=f"Comparison: {answer.title}",
        policy=policy,
        data=as_json(page_data(answer)),
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


def page_data(answer: Analysis) -> dict[str, Any]:
    """What the page's script gets; what has no value is null."""
    short = short_names(answer.varying)
    images, differences = answer.images, answer.differences
    column = {place: number for number, place in enumerate(answer.columns)}
    runs = [
        {
            "id": run.run_id,
            "name": run.name,
            "heading": heading,
            "params": [
                None if (value := run.params.get(key)) is None else short_value(value) for key in answer.varying
            ],
            "status": "pruned" if run.pruned else run.status.lower(),
            "failure": run.failure[:300],
            "val": run.val,
            "test": run.score(TEST),
            "bestEpoch": run.score(BEST_EPOCH),
            "minutes": None if run.seconds is None else run.seconds / 60,
            "parameters": run.score(PARAMETERS),
            "best": run is answer.best,
            "colour": run_colour(place),
            "column": column.get(place),
            "curve": [[epoch, number(value)] for epoch, value in sorted(run.curves.get(CURVE, {}).items())],
            "classIou": [number(run.class_iou.get(name)) for name in _class_names(answer)],
        }
        for place, (run, heading) in enumerate(zip(answer.runs, answer.headings, strict=True))
    ]
    return {
        "title": answer.title,
        "command": answer.command,
        "notes": list(answer.notes),
        "classes": list(answer.classes),
        "classNames": _class_names(answer),
        "palette": [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in voc_palette().tolist()],
        "errorColours": {"missed": MISSED, "false": FALSE, "confused": CONFUSED},
        "varying": [{"key": key, "short": short[key]} for key in answer.varying],
        "runs": runs,
        "replicates": [
            {
                "params": [[key, short_value(value)] for key, value in group.params.items()],
                "count": len(group.ids),
                "val": group.val,
                "test": group.test,
            }
            for group in answer.replicates
        ],
        "importances": [[short[key], value] for key, value in answer.importances.items()],
        "parallel": [
            {"name": axis.name, "heights": list(axis.heights), "ticks": [list(tick) for tick in axis.ticks]}
            for axis in parallel_axes(answer.runs, answer.varying)
        ],
        "differences": None
        if differences is None
        else {
            "images": differences.images,
            "runs": list(differences.runs),
            "difference": numbers(differences.difference),
            "low": numbers(differences.low),
            "high": numbers(differences.high),
        },
        "epochs": images.epochs,
        "test": [_compared_image(image) for image in images.test],
        "val": [_compared_image(image) for image in images.val],
    }


def number(value: float | None) -> float | None:
    """A finite number, or None."""
    return None if value is None or not math.isfinite(value) else round(float(value), 6)


def numbers(values: np.ndarray) -> Any:
    """An array as lists of what `number` gives."""
    return [numbers(part) for part in values] if values.ndim else number(float(values))


def packed(mask: np.ndarray | None) -> str | None:
    """A mask's indices, row by row, deflated, as base64.

    An image would lose them where a browser changes what is read back from a canvas, as some do against tracking.
    """
    return None if mask is None else base64.b64encode(zlib.compress(mask.tobytes(), 9)).decode()


def jpeg_uri(photograph: Image.Image | None) -> str | None:
    """A photograph as a data: URI, coded anew: without what its file says beside the pixels."""
    if photograph is None:
        return None
    file = io.BytesIO()
    bare = Image.fromarray(np.asarray(photograph))  # Pillow would take a file's comment along
    bare.save(file, "JPEG", quality=90, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"


def _compared_image(image: ComparedImage) -> dict[str, Any]:
    return {
        "id": image.id,
        "height": image.size[0],
        "width": image.size[1],
        "photograph": jpeg_uri(image.photograph),
        "truth": packed(image.truth),
        "disagreement": number(image.gap),
        "masks": {str(epoch): [packed(mask) for mask in masks] for epoch, masks in image.masks.items()},
        "ious": {str(epoch): numbers(ious) for epoch, ious in image.ious.items()},
    }


def _class_names(answer: Analysis) -> Sequence[str]:
    """The classes of the tables of scores: the configuration's, else those that the runs' files name."""
    if answer.classes:
        return list(answer.classes)
    return list(dict.fromkeys(name for run in answer.runs for name in run.class_iou))


def _hash_source(script: str) -> str:
    """A script as a Content-Security-Policy allows it: by its hash."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
