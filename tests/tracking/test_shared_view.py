"""The view of a sweep, as MLflow's UI reads it: an envelope around a packed state."""

import base64
import json
import zlib
from typing import Any

from pipeline.tracking.shared_view import LONGEST, sweep_view

OBJECTIVES = ["best/val_mean_iou"]


def state(value: str) -> dict[str, Any]:
    envelope = json.loads(value)
    assert set(envelope) == {"name", "createdAt", "state"} and envelope["createdAt"] == 5
    packed = envelope["state"].removeprefix("deflate;")
    assert packed != envelope["state"]
    return json.loads(zlib.decompress(base64.b64decode(packed)))


def test_it_lists_the_trials_with_what_varies_and_the_scores() -> None:
    found = state(sweep_view("s", 5, ["model.width", "seed"], OBJECTIVES, [], 8))
    assert found["searchFilter"] == "tags.sweep = 's' AND tags.trial != ''"
    assert found["orderByKey"] == "metrics.`best/val_mean_iou`" and not found["orderByAsc"]
    assert {"params.`model.width`", "params.`seed`", "metrics.`test/mean_iou`"} <= set(found["selectedColumns"])
    assert len(found["selectedColumns"]) == len(set(found["selectedColumns"]))
    charts = {chart["type"]: chart for chart in found["compareRunCharts"]}
    assert set(charts) == {"LINE", "PARALLEL"}
    assert charts["PARALLEL"]["selectedParams"] == ["model.width", "seed"]


def test_every_chart_is_in_a_section_and_images_have_their_own() -> None:
    found = state(sweep_view("s", 5, ["seed"], OBJECTIVES, [f"val/{number}" for number in range(9)], 8))
    sections = {section["uuid"]: section["name"] for section in found["compareRunSections"]}
    assert list(sections.values()) == ["sweep", "images"]
    (images,) = (chart for chart in found["compareRunCharts"] if chart["type"] == "IMAGE")
    assert sections[images["metricSectionId"]] == "images" and images["step"] == 8
    assert images["imageKeys"] == [f"val/{number}" for number in range(4)]
    assert all(chart["metricSectionId"] in sections for chart in found["compareRunCharts"])
    assert len({chart["uuid"] for chart in found["compareRunCharts"]}) == len(found["compareRunCharts"])


def test_it_always_fits_into_a_tag_and_is_the_same_every_time() -> None:
    many = [f"group.key_{number}_{hash(str(number))}" for number in range(500)]
    value = sweep_view("s" * 100, 5, many, OBJECTIVES, ["val/" + "x" * 140] * 4, 8)
    assert len(value) <= LONGEST and state(value)["selectedColumns"]
    assert value == sweep_view("s" * 100, 5, many, OBJECTIVES, ["val/" + "x" * 140] * 4, 8)
