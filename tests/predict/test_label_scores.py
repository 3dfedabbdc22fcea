"""Self-confidence of given masks: by hand, the ranking, and its table."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.data.palette import VOID
from pipeline.predict.label_scores import LabelScores, describe, self_confidence
from tests.evaluate.masks import classes

NAMED = classes(names=["ground", "cat", "dog"])


def test_self_confidence_is_the_probability_of_the_given_label() -> None:
    probabilities = np.array([[[0.7, 0.2, 0.1], [0.1, 0.3, 0.6], [0.5, 0.5, 0]]], np.float32)
    found = self_confidence(probabilities, np.array([[1, 2, VOID]], np.uint8))
    np.testing.assert_array_equal(found, np.array([0.2, 0.6], np.float32))


def sure(prediction: np.ndarray, confidence: float = 0.9) -> np.ndarray:
    """Probabilities of the predicted classes, the rest shared equally."""
    others = (1 - confidence) / 2
    return np.where(np.arange(3) == prediction[..., np.newaxis], confidence, others).astype(np.float32)


def test_a_tenth_of_wrong_labels_makes_a_mask_suspicious(tmp_path: Path) -> None:
    """The mean over all pixels would place it behind a mask with an uncertain prediction."""
    prediction = np.zeros((10, 10), np.uint8)
    prediction[:, 0] = 2
    wrong = np.where(prediction == 2, 1, prediction).astype(np.uint8)
    scores = LabelScores(NAMED)
    scores.add("right.png", prediction, prediction, sure(prediction))
    scores.add("unsure.png", prediction, prediction, sure(prediction, 0.5))
    scores.add("wrong.png", wrong, prediction, sure(prediction))
    scores.add("void.png", np.full((2, 2), VOID, np.uint8), np.zeros((2, 2), np.uint8), sure(np.zeros((2, 2), int)))
    assert [found.image for found in scores.suspicious] == ["wrong.png", "unsure.png", "right.png"]
    first = scores.suspicious[0]
    assert (first.label, first.predicted) == ("cat", "dog") and first.self_confidence == pytest.approx(0.05)
    assert describe(first) == "self-confidence 0.05 (cat, predicted as dog), mean IoU 0.333"
    assert describe(scores.images[-1]) == "no valid pixels"
    scores.write(tmp_path / "labels.csv")
    with (tmp_path / "labels.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["wrong.png", "unsure.png", "right.png", "void.png"]
    assert float(rows[0]["pixel_accuracy"]) == 0.9 and float(rows[2]["mean_iou"]) == 1
    assert set(rows[3].values()) == {"void.png", ""}


def test_all_images_are_scored_as_a_split() -> None:
    prediction = np.array([[0, 1], [1, 2]], np.uint8)
    scores = LabelScores(NAMED)
    for labels in (prediction, np.array([[0, 1], [VOID, 0]], np.uint8)):
        scores.add("x", labels, prediction, sure(prediction))
    assert scores.scores.confusion_matrix.tolist() == [[2, 0, 1], [0, 3, 0], [0, 0, 1]]
    assert scores.scores.boundary_iou_per_class.tolist() == [2 / 3, 1, 0.5]  # all of it is boundary
    assert math.isnan(scores.scores.loss)
