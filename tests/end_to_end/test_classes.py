"""A dataset without a background, in colours of its own: from the command to masks, overlays and the page's data."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.commands import CLASSES, RUN, Ended, several, stored_runs, tiny

COLOURS = ["#804080", "#4682b4", "#00008e", "#dc143c", "#6b8e23"]
GIVEN = {
    "dataset__background": "null",
    "dataset__colours": "[" + ",".join(f'"{colour}"' for colour in COLOURS) + "]",
    "sampling": "balanced",
    "epochs": "1",
}
RGB = np.array([[int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in COLOURS], np.uint8)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, list[Ended]]:
    """The folder, the artifacts of a run, and how training, prediction and comparison ended."""
    cwd = tmp_path_factory.mktemp("streets")
    (cwd / "VOC").symlink_to(data / "VOC")
    (cwd / "own").mkdir()
    Image.open(data / "VOC/JPEGImages/test_0.jpg").save(cwd / "own/a.png")
    (training,) = several([[RUN, *tiny(**GIVEN)]], cwd)
    _, (run,) = stored_runs(cwd)
    assert run.data.params["dataset.background"] == "None"
    commands = [
        ["pipeline.predict", f"run={run.info.run_id}", "input=own", "output=masks"],
        ["pipeline.compare", "segmentation", "output=page"],
    ]
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    return cwd, artifacts, [training, *several(commands, cwd)]


def test_training_prediction_and_comparison_work(trained: tuple[Path, Path, list[Ended]]) -> None:
    _, _, ended = trained
    assert [(done.status, done.stderr) for done in ended] == [(0, "")] * 3
    assert f"{len(CLASSES)} classes, no background, in VOC" in ended[0].stdout


def test_masks_have_the_given_colours(trained: tuple[Path, Path, list[Ended]]) -> None:
    cwd, artifacts, _ = trained
    files = [*artifacts.glob("predictions/test/*.png"), *artifacts.glob("predictions/val/1/*.png"), cwd / "masks/a.png"]
    assert len(files) == 6
    for file in files:
        with Image.open(file) as mask:
            assert (np.array(mask.convert("RGB")) == RGB[np.array(mask)]).all()


def test_the_page_has_the_classes_of_the_run(trained: tuple[Path, Path, list[Ended]]) -> None:
    text = (trained[0] / "page/comparison.html").read_text(encoding="utf-8")
    found = re.search('<script type="application/json" id="data">(.*?)</script>', text)
    assert found is not None
    page = json.loads(found[1])
    assert page["background"] is None and page["palette"][: len(CLASSES)] == COLOURS
