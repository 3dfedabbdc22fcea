"""Files of an evaluation: which images are chosen, predictions, overlays, tables; and the table of scores."""

import csv
import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from pipeline.data.palette import voc_palette
from pipeline.data.voc import Example
from pipeline.evaluate.metrics import Scores
from pipeline.evaluate.report import (
    absent_class_notes,
    fixed_choice,
    prediction_writer,
    score_table,
    write_overlays,
    write_scores,
)
from tests.evaluate.masks import classes

CLASSES = ["background", 'a, "b"', "Büsche"]
# Class 2 is neither in the truth nor predicted.
MATRIX = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]], np.int64)


def examples(*names: str) -> list[Example]:
    return [Example(name, Path(f"{name}.jpg"), Path(f"{name}.png")) for name in names]


def test_the_fixed_choice_depends_on_the_names_alone() -> None:
    listed = examples(*(f"id_{number}" for number in range(20)))
    chosen = fixed_choice(listed, 5)
    assert len(chosen) == 5 and chosen == fixed_choice(listed[::-1], 5) == fixed_choice(listed, 20)[:5]
    assert chosen != listed[:5]
    assert fixed_choice(listed[:3], 5) == fixed_choice(listed[:3], 3) and fixed_choice(listed, 0) == []
    # Another image changes the choice by at most that image.
    more = fixed_choice([*listed, *examples("another")], 5)
    assert len({example.id for example in more} - {example.id for example in chosen}) <= 1


def test_chosen_predictions_are_written_as_index_masks(tmp_path: Path) -> None:
    first, second = examples("a/b", "c")
    mask, palette = np.array([[0, 1, 2], [2, 1, 0]], np.uint8), voc_palette()[::-1].copy()
    prediction_writer(tmp_path / "all", palette)(first, mask)
    with Image.open(tmp_path / "all/a/b.png") as written:
        assert written.mode == "P"
        np.testing.assert_array_equal(np.array(written), mask)
        np.testing.assert_array_equal(np.array(written.convert("RGB")), palette[mask])
    some = prediction_writer(tmp_path / "some", palette, [second])
    some(first, mask)
    some(second, mask)
    assert [path.name for path in (tmp_path / "some").rglob("*.png")] == ["c.png"]
    prediction_writer(tmp_path / "none", palette, [])(first, mask)
    assert not (tmp_path / "none").exists()


def predicted(root: Path, count: int, predictions: Path) -> list[Example]:
    """The test images of a folder, and a written prediction of each: class 0 everywhere."""
    names = [f"test_{number}" for number in range(count)]
    listed = [Example(name, root / f"JPEGImages/{name}.jpg", root / f"SegmentationClass/{name}.png") for name in names]
    write = prediction_writer(predictions, voc_palette())
    for example in listed:
        write(example, np.zeros((24, 32), np.uint8))
    return listed


def test_overlays_show_a_fixed_choice_the_best_and_the_worst(tmp_path: Path, voc_folder: Callable[..., Path]) -> None:
    listed = predicted(voc_folder(test=5), 5, tmp_path / "predictions")
    names = [example.id for example in listed]
    shown = classes(names=["g", "x", "y"])
    images = {name: np.array([[right], [10]]) for name, right in zip(names, [3, 9, 1, 7, 2], strict=True)}
    scores = Scores(MATRIX, 0.5, images)
    write_overlays(tmp_path / "overlays", tmp_path / "predictions", listed, shown, scores, 2, "test")
    found = {place.name: {path.stem for path in place.iterdir()} for place in (tmp_path / "overlays").iterdir()}
    assert found["best"] == {"test_1", "test_3"} and found["worst"] == {"test_2", "test_4"}
    # An image without valid pixels is not the worst: nothing in it can be wrong.
    del scores.images["test_2"]
    write_overlays(tmp_path / "void", tmp_path / "predictions", listed, shown, scores, 2, "test")
    assert {path.stem for path in (tmp_path / "void/worst").iterdir()} == {"test_0", "test_4"}
    assert found["test"] == {example.id for example in fixed_choice(listed, 2)}
    write_overlays(tmp_path / "none", tmp_path / "predictions", listed, shown, scores, 0, "test")
    assert list((tmp_path / "none").iterdir()) == []
    best, worst = (np.array(Image.open(tmp_path / f"overlays/{name}.png")) for name in ("best/test_1", "worst/test_2"))
    assert best.shape == worst.shape and (best != worst).any()


def test_overlays_of_an_earlier_evaluation_are_removed_and_nothing_else(
    tmp_path: Path, voc_folder: Callable[..., Path]
) -> None:
    """The best of another network's would stand among the best of this one."""
    listed = predicted(voc_folder(test=4), 4, tmp_path / "predictions")
    names = [example.id for example in listed]
    shown, folder = classes(names=["g", "x", "y"]), tmp_path / "overlays"
    mine = [folder / name for name in ("mine.png", "best/notes.txt", "val/test_0.png", "other/best/test_0.png")]
    earlier = [folder / name for name in ("best/a.png/b.png", "worst/gone.png", "test/gone.png")]
    for file in (*mine, *earlier):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"x")
    for count, ranked in ((2, (3, 9, 1, 7)), (1, (9, 3, 7, 1))):
        images = {name: np.array([[right], [10]]) for name, right in zip(names, ranked, strict=True)}
        write_overlays(folder, tmp_path / "predictions", listed, shown, Scores(MATRIX, 0.5, images), count, "test")
        assert all(file.read_bytes() == b"x" for file in mine)
    now = {path.relative_to(folder).as_posix() for path in folder.rglob("*.png") if path.is_file()} - {"mine.png"}
    (fixed,) = fixed_choice(listed, 1)
    assert now == {
        "best/test_0.png",
        "worst/test_3.png",
        f"test/{fixed.id}.png",
        "val/test_0.png",
        "other/best/test_0.png",
    }


def test_a_missing_score_is_an_empty_cell_of_the_csv(tmp_path: Path) -> None:
    boundaries = np.array([[1, 2, 0], [4, 2, 0]])
    write_scores(tmp_path / "evaluation", CLASSES, Scores(MATRIX, 0.5, boundary_counts=boundaries))
    with (tmp_path / "evaluation/per_class.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == CLASSES
    assert [float(row["iou"]) for row in rows[:2]] == pytest.approx([6 / 9, 3 / 6])
    assert [float(row["accuracy"]) for row in rows[:2]] == pytest.approx([6 / 8, 3 / 4])
    assert [float(row["dice"]) for row in rows[:2]] == pytest.approx([12 / 15, 6 / 9])
    assert [float(row["precision"]) for row in rows[:2]] == pytest.approx([6 / 7, 3 / 5])
    assert [float(row["recall"]) for row in rows[:2]] == pytest.approx([6 / 8, 3 / 4])
    assert [float(row["boundary_iou"]) for row in rows[:2]] == [0.25, 1]
    scored = ("iou", "accuracy", "dice", "precision", "recall", "boundary_iou")
    assert {rows[2][name] for name in scored} == {""}
    # Readers of earlier versions may know columns by their number.
    assert list(rows[0])[:6] == ["class", "iou", "accuracy", "true_pixels", "predicted_pixels", "correct_pixels"]
    columns = ("true_pixels", "predicted_pixels", "correct_pixels")
    assert [[int(row[name]) for name in columns] for row in rows] == [[8, 7, 6], [4, 5, 3], [0, 0, 0]]
    with (tmp_path / "evaluation/confusion_matrix.csv").open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header == ["truth \\ prediction", *CLASSES]
    assert [line[0] for line in lines] == CLASSES
    assert np.array([[int(cell) for cell in line[1:]] for line in lines]).tolist() == MATRIX.tolist()
    with Image.open(tmp_path / "evaluation/confusion_matrix.png") as image:
        assert min(image.size) > 50


def test_a_missing_score_is_a_dash_in_the_printed_table() -> None:
    scores = {"val": Scores(np.eye(3, dtype=np.int64), 0.25), "test": Scores(MATRIX, 0.5)}
    screen = io.StringIO()
    Console(file=screen, width=80, markup=False, emoji=False).print(score_table(["g", "[b]:car:", "Büsche"], scores))
    rows = [re.findall(r"[^│┃\s][^│┃]*", line) for line in screen.getvalue().splitlines()]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows if len(row) > 2}
    assert cells["class"] == ["val IoU", "test IoU", "test precision", "test recall"]
    assert cells["g"] == ["1.0000", "0.6667", "0.8571", "0.7500"]
    assert cells["[b]:car:"] == ["1.0000", "0.5000", "0.6000", "0.7500"]
    assert cells["Büsche"] == ["1.0000", "-", "-", "-"]
    assert cells["mean"] == ["1.0000", "0.5833", "0.7286", "0.7500"]
    assert cells["mean Dice"] == ["1.0000", "0.7333"]
    assert cells["weighted IoU"] == ["1.0000", "0.6111"]
    assert cells["pixel accuracy"] == ["1.0000", "0.7500"]
    assert cells["loss"] == ["0.2500", "0.5000"] and "nan" not in str(cells)
    assert "boundary IoU" not in cells  # not counted for either split


def test_a_boundary_iou_is_in_the_table_where_it_was_counted() -> None:
    counted = Scores(MATRIX, 0.5, boundary_counts=np.array([[1, 1, 0], [4, 2, 0]]))
    screen = io.StringIO()
    Console(file=screen, width=80).print(score_table(CLASSES, {"val": Scores(MATRIX, 0.5), "test": counted}))
    assert re.search(r"boundary IoU +│ +- +│ +0\.3750 ", screen.getvalue())


def test_an_interval_is_in_the_table_where_there_are_several_images() -> None:
    counts = np.array([[6, 3, 0], [9, 6, 0]])
    for images, row in ((2, "mean IoU, 95 % │ +│ 0.583-0.583"), (1, None), (0, None)):
        scores = Scores(MATRIX, 0.5, {str(number): counts for number in range(images)})
        screen = io.StringIO()
        Console(file=screen, width=80).print(score_table(CLASSES, {"val": Scores(MATRIX, 0.5), "test": scores}))
        assert re.search(row, screen.getvalue()) if row else "95 %" not in screen.getvalue()
        assert "nan" not in screen.getvalue()


def test_classes_that_a_split_never_shows_are_told() -> None:
    """Its mean is over the classes that are true or predicted: not the mean of a split that shows them all."""
    predicted = np.array([[6, 2, 1], [1, 3, 0], [0, 0, 0]], np.int64)
    scores = {"train": Scores(np.eye(3, dtype=np.int64), 0), "val": Scores(MATRIX, 0), "test": Scores(predicted, 0)}
    assert absent_class_notes(["g", "h", "i"], scores) == [
        "no val mask contains: i; the val mean is over 2 of 3 classes",
        "no test mask contains: i; the test mean is over 3 of 3 classes, with IoU 0 for i, predicted falsely",
    ]


def test_scores_of_no_valid_pixel_are_dashes(tmp_path: Path) -> None:
    empty = Scores(np.zeros((3, 3), np.int64), float("nan"))
    screen = io.StringIO()
    Console(file=screen, width=80).print(score_table(CLASSES, {"test": empty}))
    assert "nan" not in screen.getvalue()
    write_scores(tmp_path, CLASSES, empty)
    assert "nan" not in (tmp_path / "per_class.csv").read_text()
