"""Files of an evaluation: which images are chosen, predictions, overlays and tables."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.voc import Example
from pipeline.evaluate.metrics import Scores
from pipeline.evaluate.report import fixed_choice, prediction_writer, write_overlays, write_scores

CLASSES = ["background", 'a, "b"', "Büsche"]
# Class 2 is neither in the truth nor predicted.
MATRIX = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]], np.int64)


def examples(*ids: str) -> list[Example]:
    return [Example(id, Path(f"{id}.jpg"), Path(f"{id}.png")) for id in ids]


def test_the_fixed_choice_depends_on_the_ids_alone() -> None:
    listed = examples(*(f"id_{number}" for number in range(20)))
    chosen = fixed_choice(listed, 5)
    assert len(chosen) == 5 and chosen == fixed_choice(listed[::-1], 5) == fixed_choice(listed, 20)[:5]
    assert chosen != listed[:5]
    assert fixed_choice(listed[:3], 5) == fixed_choice(listed[:3], 3) and fixed_choice(listed, 0) == []
    # An image more changes the choice by that image at most.
    more = fixed_choice([*listed, *examples("another")], 5)
    assert len({example.id for example in more} - {example.id for example in chosen}) <= 1


def test_predictions_are_written_as_index_masks_of_those_asked_for(tmp_path: Path) -> None:
    first, second = examples("a/b", "c")
    mask = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
    prediction_writer(tmp_path / "all")(first, mask)
    with Image.open(tmp_path / "all/a/b.png") as written:
        assert written.mode == "P"
        np.testing.assert_array_equal(np.array(written), mask)
    some = prediction_writer(tmp_path / "some", [second])
    some(first, mask)
    some(second, mask)
    assert [path.name for path in (tmp_path / "some").rglob("*.png")] == ["c.png"]
    prediction_writer(tmp_path / "none", [])(first, mask)
    assert not (tmp_path / "none").exists()


def test_overlays_show_the_fixed_choice_the_best_and_the_worst(tmp_path: Path, voc_folder: Callable[..., Path]) -> None:
    root = voc_folder(test=5)
    ids = [f"test_{number}" for number in range(5)]
    listed = [Example(id, root / f"JPEGImages/{id}.jpg", root / f"SegmentationClass/{id}.png") for id in ids]
    write = prediction_writer(tmp_path / "predictions")
    for example in listed:
        write(example, np.zeros((24, 32), np.uint8))
    scores = Scores(MATRIX, 0.5, dict(zip(ids, [0.3, 0.9, 0.1, 0.7, 0.2], strict=True)))
    write_overlays(tmp_path / "overlays", tmp_path / "predictions", listed, ["g", "x", "y"], scores, 2, "test")
    found = {place.name: {path.stem for path in place.iterdir()} for place in (tmp_path / "overlays").iterdir()}
    assert found["best"] == {"test_1", "test_3"} and found["worst"] == {"test_2", "test_4"}
    # One that is void alone is not the worst: nothing in it could be wrong.
    del scores.image_iou["test_2"]
    write_overlays(tmp_path / "void", tmp_path / "predictions", listed, ["g", "x", "y"], scores, 2, "test")
    assert {path.stem for path in (tmp_path / "void/worst").iterdir()} == {"test_0", "test_4"}
    assert found["test"] == {example.id for example in fixed_choice(listed, 2)}
    write_overlays(tmp_path / "none", tmp_path / "predictions", listed, ["g", "x", "y"], scores, 0, "test")
    assert list((tmp_path / "none").iterdir()) == []
    best, worst = (np.array(Image.open(tmp_path / f"overlays/{name}.png")) for name in ("best/test_1", "worst/test_2"))
    assert best.shape == worst.shape and (best != worst).any()


def test_the_tables_hold_the_counts_and_a_missing_score_is_an_empty_cell(tmp_path: Path) -> None:
    write_scores(tmp_path / "evaluation", CLASSES, Scores(MATRIX, 0.5))
    with (tmp_path / "evaluation/per_class.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["class"] for row in rows] == CLASSES
    assert [float(row["iou"]) for row in rows[:2]] == pytest.approx([6 / 9, 3 / 6])
    assert [float(row["accuracy"]) for row in rows[:2]] == pytest.approx([6 / 8, 3 / 4])
    assert rows[2]["iou"] == rows[2]["accuracy"] == ""
    columns = ("true_pixels", "predicted_pixels", "correct_pixels")
    assert [[int(row[name]) for name in columns] for row in rows] == [[8, 7, 6], [4, 5, 3], [0, 0, 0]]
    with (tmp_path / "evaluation/confusion_matrix.csv").open(newline="", encoding="utf-8") as file:
        header, *lines = csv.reader(file)
    assert header == ["truth \\ prediction", *CLASSES]
    assert [line[0] for line in lines] == CLASSES
    assert np.array([[int(cell) for cell in line[1:]] for line in lines]).tolist() == MATRIX.tolist()
    with Image.open(tmp_path / "evaluation/confusion_matrix.png") as image:
        assert min(image.size) > 50
