"""A sweep's page in MLflow's UI: its trials as a flat list, what varies and the scores as columns, and charts.

MLflow stores such a view as a tag of the experiment, and its UI opens it by a key in the address. The names below are
those that the UI of MLflow 3.17 writes itself when a person saves a view; MLflow documents none of them.
"""

import base64
import json
import uuid
import zlib
from collections.abc import Sequence
from typing import Any

TAG = "mlflow.sharedViewState."
LONGEST = 5000  # characters of an experiment's tag
MOST_IMAGES = 4  # a grid has a row for each, and a column for each run
# Metrics that come first among the columns, and that have a chart.
COLUMNS = ("best/val_mean_iou", "test/mean_iou", "best/epoch", "time/total_seconds")
CURVES = ("val/mean_iou", "val/loss", "train/loss")


def sweep_view(
    name: str, created: int, varying: Sequence[str], objectives: Sequence[str], images: Sequence[str], epochs: int
) -> str:
    """The value of the tag that describes the view.

    Args:
        name: of the sweep.
        created: milliseconds since the epoch.
        varying: the parameters that vary.
        objectives: metrics that the sweep optimises; the trials are listed by the first.
        images: keys of images, of which the grid shows a few.
        epochs: the step that the images are shown at, at first.
    """
    while True:
        value = _envelope(name, created, _state(name, varying, objectives, images, epochs))
        if len(value) <= LONGEST or not varying:
            return value
        varying = varying[: len(varying) // 2]  # hundreds of them would be no columns to look at either


def _state(
    name: str, varying: Sequence[str], objectives: Sequence[str], images: Sequence[str], epochs: int
) -> dict[str, Any]:
    """What the UI keeps of a view; see `sweep_view` for the arguments."""
    metrics = list(dict.fromkeys([*objectives, *COLUMNS]))
    sweep, grid = (str(uuid.uuid5(uuid.NAMESPACE_OID, f"{name} {part}")) for part in ("sweep", "images"))
    sections = [_section(sweep, "sweep", columns=2, height=360)]
    drawn = {"xAxisKey": "step", "scaleType": "linear", "lineSmoothness": 0}  # the UI smooths unless told not to
    charts = [_card(sweep, "LINE", metric, metricKey=metric, selectedMetricKeys=[metric], **drawn) for metric in CURVES]
    chosen = {"selectedParams": list(varying), "selectedMetrics": list(objectives), "showAllRuns": True}
    charts.append(_card(sweep, "PARALLEL", "parallel coordinates", **chosen))
    if images:
        sections.append(_section(grid, "images", columns=1, height=720))
        shown = {"imageKeys": list(images[:MOST_IMAGES]), "step": epochs, "showRunParams": False}
        charts.append(_card(grid, "IMAGE", "images", **shown))
    return {
        # A list that is ordered by anything but the time is not folded below the sweep's own run.
        "searchFilter": f"tags.sweep = '{name}' AND tags.trial != ''",
        "orderByKey": f"metrics.`{objectives[0]}`",
        "orderByAsc": False,
        "selectedColumns": [
            *(f"metrics.`{metric}`" for metric in metrics),
            *(f"params.`{key}`" for key in varying),
            "attributes.`Dataset`",
        ],
        "runsHiddenMode": "FIRST_20_RUNS",
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,  # otherwise the sections are sorted, and these are not the first
        "hideEmptyCharts": True,
    }


def _section(section: str, name: str, columns: int, height: int) -> dict[str, Any]:
    """Charts below one heading, in so many columns; their height is in pixels."""
    place = {"columns": columns, "cardHeight": height}
    return {"uuid": section, "name": name, "display": True, "isReordered": True, **place}


def _card(section: str, kind: str, title: str, **content: Any) -> dict[str, Any]:
    """A chart. Its id depends on what it shows, so that the same view has the same value."""
    own = {"uuid": str(uuid.uuid5(uuid.NAMESPACE_OID, f"{section} {title}")), "metricSectionId": section}
    return {"type": kind, "displayName": title, "deleted": False, "isGenerated": False, **own, **content}


def _envelope(name: str, created: int, state: dict[str, Any]) -> str:
    packed = base64.b64encode(zlib.compress(json.dumps(state).encode(), 9)).decode()
    return json.dumps({"name": f"sweep {name}", "createdAt": created, "state": f"deflate;{packed}"})
