"""`python -m pipeline.evaluate`: a stored run has the scores that it logged, and is scored on any other dataset."""

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.end_to_end.commands import CLASSES, Ended, Finished, lines, several


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory, voc_writer: Callable[..., Path]) -> Path:
    """Another dataset, with a test split and a list `extra` of one image; lists of masks of 0 and 255, and of 255."""
    root = voc_writer(tmp_path_factory.mktemp("other"), train=1, val=1, test=2, size=(28, 36), classes=4, seed=7)
    (root / "ImageSets/Segmentation/extra.txt").write_text("test_1\n")
    mask = np.array(Image.open(root / "SegmentationClass/test_1.png"))
    for name, label in (("binary", 0), ("void", 255)):
        (root / f"JPEGImages/{name}.jpg").write_bytes((root / "JPEGImages/test_1.jpg").read_bytes())
        Image.fromarray(np.where(mask == 0, label, 255).astype(np.uint8)).save(root / f"SegmentationClass/{name}.png")
        (root / f"ImageSets/Segmentation/{name}.txt").write_text(f"{name}\n")
    return root


@pytest.fixture(scope="module")
def ended(finished: Finished, other: Path) -> dict[str, Ended]:
    """All commands of this file, one after the other in one process."""
    run = f"run={finished.id}"
    elsewhere = [run, "dataset=folder", f"dataset.root={other}", "dataset.splits.val=val"]
    commands = {
        "own": [run, "output=scored"],
        "one by one": [f"run={finished.run.data.tags['run_key']}", "evaluate.batch_size=1", "output=singly"],
        "val": [run, "split=val", "output=val"],
        "other": [*elsewhere, "dataset.splits.test=test", "output=other"],
        "list": [run, f"dataset.root={other}", "dataset.splits.test=extra", "output=list"],
        "renamed": [*elsewhere, "dataset.splits.test=test", "dataset.classes=[a,b,c,d,e]"],
        "seen": [run, "dataset.splits.test=train"],
        "shapes": [run, "dataset=shapes"],
        "classes": [*elsewhere, "dataset.splits.test=test", "dataset.classes=[a,b,c]"],
        "views": [run, "evaluate.flip=true", "evaluate.scales=[0.5,1]", "evaluate.window=16", "output=views"],
        "window": [run, "evaluate.window=18"],
        "windows": [run, "evaluate.window=20"],  # a multiple of what this run's network needs, not of what others do
        "output": [run, "output=VOC/ImageSets/Segmentation/val.txt"],
        "network": [run, "model.depth=3"],
        "misspelt": [run, "splitt=val"],
        "dataset": [run, "dataset=voc2013"],
        "split": [run, "split=dev"],
        "sweep": [run, "dataset.splits.test=test,extra"],
        "unknown run": ["run=nothing"],
        "binary": [run, f"dataset.root={other}", "dataset.splits.test=binary"],
        "void": [run, f"dataset.root={other}", "dataset.splits.test=void"],
        "no list": [run, "dataset.splits.test=missing"],
    }
    done = several([["pipeline.evaluate", *command] for command in commands.values()], finished.cwd)
    return dict(zip(commands, done, strict=True))


def scores(folder: Path) -> dict[str, float]:
    with (folder / "evaluation/per_class.csv").open(encoding="utf-8") as file:
        return {row["class"]: float(row["iou"]) for row in csv.DictReader(file) if row["iou"]}


@pytest.mark.parametrize(("command", "folder"), [("own", "scored"), ("one by one", "singly")])
def test_the_runs_own_test_split_has_the_logged_scores(
    finished: Finished, ended: dict[str, Ended], command: str, folder: str
) -> None:
    assert (ended[command].status, ended[command].stderr) == (0, "")
    logged = finished.run.data.metrics
    metric = {"a/b": "a_b", "a?b": "a_b_3"}
    found = scores(finished.cwd / folder)
    assert found == {name: logged[f"test/iou/{metric.get(name, name)}"] for name in found}
    assert np.mean(list(found.values())) == pytest.approx(logged["test/mean_iou"], abs=1e-12)
    table = ended[command].stdout
    assert f"{logged['test/mean_iou']:.4f}" in table and f"{logged['test/loss']:.4f}" in table
    for name in ("confusion_matrix.csv", "confusion_matrix.png", "per_class.csv"):
        assert (finished.cwd / folder / "evaluation" / name).read_bytes() == finished.artifact(
            f"evaluation/{name}"
        ).read_bytes()
    assert {path.name for path in (finished.cwd / folder / "overlays").iterdir()} == {"test", "best", "worst"}


def test_the_validation_split_scores_as_in_the_best_epoch(finished: Finished, ended: dict[str, Ended]) -> None:
    assert ended["val"].status == 0
    best = finished.run.data.metrics["best/val_mean_iou"]
    assert np.mean(list(scores(finished.cwd / "val").values())) == pytest.approx(best, abs=1e-12)
    assert re.match(rf"run {finished.id} on 2 val images of VOC\n", ended["val"].stdout)


def test_another_dataset_is_scored_by_its_own_masks(finished: Finished, other: Path, ended: dict[str, Ended]) -> None:
    assert (ended["other"].status, ended["other"].stderr) == (0, "")
    matrix = np.zeros((5, 5), np.int64)
    for number in range(2):
        truth = np.array(Image.open(other / f"SegmentationClass/test_{number}.png"))
        prediction = np.array(Image.open(finished.cwd / f"other/predictions/test/test_{number}.png"))
        np.add.at(matrix, (truth[truth != 255], prediction[truth != 255]), 1)
    union = matrix.sum(0) + matrix.sum(1) - np.diag(matrix)
    expected = {name: matrix[i, i] / union[i] for i, name in enumerate(CLASSES) if union[i]}
    assert scores(finished.cwd / "other") == pytest.approx(expected, abs=1e-12)


def test_a_single_key_of_the_data_can_be_changed(finished: Finished, other: Path, ended: dict[str, Ended]) -> None:
    assert ended["list"].status == 0, ended["list"].stderr
    assert ended["list"].stdout.startswith(f"run {finished.id} on 1 test images of {other}\n")
    assert [path.name for path in (finished.cwd / "list/predictions/test").iterdir()] == ["test_1.png"]


def test_a_note_says_that_other_data_have_no_class_weights(ended: dict[str, Ended]) -> None:
    note = "note: the loss is without the run's class weights"
    assert note in ended["other"].stdout and note in ended["list"].stdout
    assert note not in ended["own"].stdout and note not in ended["views"].stdout


def test_classes_that_a_split_never_shows_are_told_with_the_scores(ended: dict[str, Ended]) -> None:
    before, table = ended["list"].stdout.split("scores", 1)
    assert "warning: no test mask contains: " in before
    assert re.search(r"(?m)^note: no test mask contains: .*; the test mean is over \d of 5 classes", table)


def test_training_images_of_the_run_are_told(ended: dict[str, Ended]) -> None:
    assert "warning: 5 of these images are training images of the run" in ended["seen"].stdout
    assert "training images of the run" not in ended["own"].stdout + ended["val"].stdout


def test_windows_are_checked_against_the_network_of_the_run(ended: dict[str, Ended]) -> None:
    assert ended["windows"].status == 0, ended["windows"].stderr


def test_other_views_change_scores_but_not_the_pixels_scored(finished: Finished, ended: dict[str, Ended]) -> None:
    assert ended["views"].status == 0, ended["views"].stderr
    assert scores(finished.cwd / "views") != scores(finished.cwd / "scored")
    counts = [
        np.loadtxt(
            finished.cwd / folder / "evaluation/confusion_matrix.csv", delimiter=",", skiprows=1, usecols=range(1, 6)
        )
        for folder in ("views", "scored")
    ]
    np.testing.assert_array_equal(counts[0].sum(axis=1), counts[1].sum(axis=1))


def test_the_classes_may_have_other_names(ended: dict[str, Ended]) -> None:
    assert ended["renamed"].status == 0
    assert re.search(r"(?m)^. e +.", ended["renamed"].stdout) and "Büsche" not in ended["renamed"].stdout


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("classes", f"dataset.classes: 3 names, but the run has 5: {', '.join(CLASSES)}"),
        ("shapes", f"dataset.classes: 8 names, but the run has 5: {', '.join(CLASSES)}"),
        ("window", "evaluate.window=18: model.depth="),
        ("output", "output=VOC/ImageSets/Segmentation/val.txt: cannot create this folder: File exists"),
        ("network", "model.depth=3: a stored run is scored as it was trained"),
        ("misspelt", "(did you mean 'split'?)"),
        ("dataset", "(did you mean 'voc2012'?)"),
        ("split", "split=dev: train, val or test expected"),
        ("sweep", "dataset.splits.test=test,extra: one value expected"),
        ("unknown run", "run=nothing: no run has this id or run_key"),
        ("binary", "are 255, which is void and neither learnt nor scored: if it is meant as a class, a conv"),
        ("void", "SegmentationClass/: all masks of the test split are 255 throughout, which is void"),
        ("no list", "missing.txt"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(ended: dict[str, Ended], command: str, message: str) -> None:
    assert ended[command].status == 2 and ended[command].stdout == ""
    faults = lines(ended[command].stderr)
    if command == "binary":
        assert "a conversion writes a new folder" in faults.pop()
    assert len(faults) == 1 and faults[0].startswith("error: ") and message in faults[0]
