"""Scores of predictions against the masks that are given with the images, and how suspicious each of the masks is."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.classes import Classes
from pipeline.data.palette import VOID
from pipeline.evaluate.boundary import boundary_counts
from pipeline.evaluate.metrics import Scores, image_confusion_matrix, mean_iou, pixel_accuracy

# The score of a mask is the self-confidence that this share of its pixels does not exceed: wrong labels mostly cover a
# part of an image, which the mean hides, while single pixels along contours are never trusted. How other shares find
# corrupted masks: docs/deployment.md, "Suspicious masks".
SHARE = 0.05


@dataclass(frozen=True)
class ImageScores:
    """The scores of one image. Those of an image without valid pixels are NaN and empty."""

    image: str
    mean_iou: float
    pixel_accuracy: float
    self_confidence: float  # that a share of `SHARE` of the valid pixels does not exceed
    label: str  # that of these pixels whose label and predicted class are together the most frequent pair
    predicted: str


def self_confidence(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far the network trusts the label of each valid pixel, (pixels,) float32: its predicted probability.

    Northcutt et al. 2021, "Confident learning: Estimating uncertainty in dataset labels", section 3.

    Args:
        probabilities: (height, width, classes) float32.
        labels: (height, width) uint8, the given mask, 255 where void.
    """
    valid = labels != VOID
    given = np.where(valid, labels, 0)[..., np.newaxis].astype(np.int64)
    return np.take_along_axis(probabilities, given, axis=-1)[..., 0][valid]


class LabelScores:
    """Collects the scores of all images with a mask, as a split is scored."""

    def __init__(self, classes: Classes) -> None:
        count = len(classes.names)
        self._classes = classes
        self.scores = Scores(np.zeros((count, count), np.int64), math.nan, {}, np.zeros((2, count), np.int64))
        self.images: list[ImageScores] = []

    def add(self, image: str, labels: np.ndarray, prediction: np.ndarray, probabilities: np.ndarray) -> None:
        """Score one image.

        Args:
            image: its name.
            labels: (height, width) uint8, its mask, 255 where void.
            prediction: (height, width) uint8.
            probabilities: (height, width, classes) float32.
        """
        count = len(self._classes.names)
        counts = image_confusion_matrix(labels, prediction, count)
        assert self.scores.boundary_counts is not None
        self.scores.confusion_matrix += counts
        self.scores.boundary_counts += boundary_counts(labels, prediction, count)
        valid, trust = labels != VOID, self_confidence(probabilities, labels)
        least = float(np.quantile(trust, SHARE, method="higher")) if trust.size else math.nan
        label, predicted = "", ""
        if trust.size:
            pairs = labels[valid][trust <= least].astype(np.int64) * count + prediction[valid][trust <= least]
            label, predicted = (self._classes.names[index] for index in divmod(np.bincount(pairs).argmax(), count))
        self.images.append(ImageScores(image, mean_iou(counts), pixel_accuracy(counts), least, label, predicted))

    @property
    def suspicious(self) -> list[ImageScores]:
        """The images with valid pixels, the one with the least self-confidence first."""
        known = [found for found in self.images if not math.isnan(found.self_confidence)]
        return sorted(known, key=lambda found: (found.self_confidence, found.image))

    def write(self, file: Path) -> None:
        """Write the scores of each image as CSV, the most suspicious first; missing scores are empty cells."""
        unknown = [found for found in self.images if math.isnan(found.self_confidence)]
        with file.open("w", newline="", encoding="utf-8") as opened:
            table = csv.writer(opened)
            table.writerow(["image", "self_confidence", "label", "predicted", "mean_iou", "pixel_accuracy"])
            for found in [*self.suspicious, *unknown]:
                numbers = (found.self_confidence, found.mean_iou, found.pixel_accuracy)
                confidence, *scores = ("" if math.isnan(number) else number for number in numbers)
                table.writerow([found.image, confidence, found.label, found.predicted, *scores])


def describe(found: ImageScores) -> str:
    """The scores of an image in words."""
    if math.isnan(found.self_confidence):
        return "no valid pixels"
    trust = f"self-confidence {found.self_confidence:.2g}"
    return f"{trust} ({found.label}, predicted as {found.predicted}), mean IoU {found.mean_iou:.3f}"
