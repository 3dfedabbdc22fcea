"""`run=a,b`: evaluate and predict by the mean of the probabilities of several runs."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.commands import CLASSES, RUN, Ended, Finished, furnish, lines, several, stored_runs, tiny


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, finished: Finished) -> tuple[Path, list[str], dict[str, Ended]]:
    """The folder, the ids of two runs that scale images differently, and all commands of this file."""
    cwd = furnish(tmp_path_factory.mktemp("ensembles"), finished.cwd)
    other = tiny(epochs="1", seed="1", long_side="20", threads="2", tracking__experiment="other")
    (trained,) = several([[RUN, *other]], cwd)
    assert trained.status == 0, trained.stderr
    # Only the test images are predicted by each run alone.
    (cwd / "own").mkdir()
    for image in (finished.cwd / "VOC/JPEGImages").glob("test_*"):
        (cwd / "own" / image.name).symlink_to(image)
    first, second = finished.id, str(stored_runs(cwd)[1][-1].info.run_id)
    images, both = "input=own", f"run={first},{second}"
    commands = {
        "evaluate": ["pipeline.evaluate", both, "output=scored"],
        "predict": ["pipeline.predict", both, images, "output=masks", "probabilities=true"],
        "first": ["pipeline.predict", f"run={first}", images, "output=first", "probabilities=true"],
        "second": ["pipeline.predict", f"run={second}", images, "output=second", "probabilities=true"],
        "unknown": ["pipeline.evaluate", f"{both},nothing"],
    }
    done = several(list(commands.values()), cwd)
    return cwd, [first, second], dict(zip(commands, done, strict=True))


def probabilities(folder: Path, name: str) -> np.ndarray:
    with np.load(folder / f"{name}_probabilities.npz") as stored:
        return stored["probabilities"].astype(np.float32)


def test_the_probabilities_of_the_runs_are_averaged(ended: tuple[Path, list[str], dict[str, Ended]]) -> None:
    cwd, _, done = ended
    assert {name: done[name].status for name in ("predict", "first", "second")} == dict.fromkeys(
        ("predict", "first", "second"), 0
    )
    differing = 0
    for number in range(3):
        alone = [probabilities(cwd / folder, f"test_{number}") for folder in ("first", "second")]
        mean = sum(alone) / 2
        np.testing.assert_allclose(probabilities(cwd / "masks", f"test_{number}"), mean, atol=2e-3)
        mask = np.array(Image.open(cwd / f"masks/test_{number}.png"))
        ordered = np.sort(mean, axis=-1)
        sure = ordered[..., -1] - ordered[..., -2] > 4e-3  # more than rounding to float16 changes
        np.testing.assert_array_equal(mask[sure], mean.argmax(axis=-1)[sure])
        differing += (mask != alone[0].argmax(axis=-1)).sum()
    assert differing > 0


def test_the_mean_is_scored_exactly(ended: tuple[Path, list[str], dict[str, Ended]]) -> None:
    cwd, (first, second), done = ended
    assert (done["evaluate"].status, done["evaluate"].stderr) == (0, "")
    assert done["evaluate"].stdout.startswith(f"the mean of runs {first} and {second} on 3 test images of VOC\n")
    assert "has none" in done["evaluate"].stdout and "nan" not in done["evaluate"].stdout
    matrix = np.zeros((5, 5), np.int64)
    for number in range(3):
        prediction = np.array(Image.open(cwd / f"scored/predictions/test/test_{number}.png"))
        np.testing.assert_array_equal(prediction, np.array(Image.open(cwd / f"masks/test_{number}.png")))
        truth = np.array(Image.open(cwd / f"VOC/SegmentationClass/test_{number}.png"))
        np.add.at(matrix, (truth[truth != 255], prediction[truth != 255]), 1)
    with (cwd / "scored/evaluation/per_class.csv").open(encoding="utf-8") as file:
        rows = {row["class"]: row for row in csv.DictReader(file)}
    assert [int(rows[name]["true_pixels"]) for name in CLASSES] == matrix.sum(axis=1).tolist()
    assert [int(rows[name]["correct_pixels"]) for name in CLASSES] == np.diag(matrix).tolist()
    assert float(rows[CLASSES[0]]["boundary_iou"]) > 0


def test_an_unknown_member_is_one_line_and_status_2(ended: tuple[Path, list[str], dict[str, Ended]]) -> None:
    unknown = ended[2]["unknown"]
    assert unknown.status == 2 and unknown.stdout == ""
    (fault,) = lines(unknown.stderr)
    assert fault.startswith("error: run=nothing: no run has this id or run_key")
