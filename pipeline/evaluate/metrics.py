"""Scores from confusion matrices: the only place where IoU, Dice, precision, recall and their means are computed.

A confusion matrix holds counts of pixels, (classes, classes) int64: rows are the true class, columns the predicted one.

A class that is neither true nor predicted anywhere has no score: NaN. Every other class has an IoU, a Dice score, a
precision and a recall, so that the four means are over the same classes: one that is never predicted has precision 0,
and one that is never true has recall 0, as both have IoU 0. (Without that, predicting the background everywhere would
have a high mean precision.)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.data.palette import VOID
from pipeline.evaluate.bootstrap import percentiles, resampled_sums


def image_confusion_matrix(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """The confusion matrix of one image over its valid pixels, (classes, classes) int64.

    The NumPy twin of `pipeline.evaluate.evaluator.confusion_matrix`, for masks read from files: it checks them, and
    needs no TensorFlow.

    Args:
        truth, prediction: (height, width) uint8 class indices; truth is 255 where void.

    Raises:
        ValueError: the shapes differ, or a valid pixel has an index without a class.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, but prediction has {prediction.shape}")
    valid = truth != VOID
    true, predicted = truth[valid].astype(np.int64), prediction[valid].astype(np.int64)
    if true.size and max(true.max(), predicted.max()) >= classes:
        raise ValueError(f"class index {max(true.max(), predicted.max())}; at most {classes - 1} expected")
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def intersection_and_union(confusion_matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each class's pixels that are both true and predicted, and those that are either, each (..., classes) int64.

    Both are linear in the matrix: those of a sum of matrices are the sums of theirs.

    Args:
        confusion_matrix: (..., classes, classes) int64.
    """
    intersection = np.diagonal(confusion_matrix, axis1=-2, axis2=-1)
    return intersection, confusion_matrix.sum(axis=-2) + confusion_matrix.sum(axis=-1) - intersection


def iou(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Intersection over union, float64 in the shape of both; NaN where the union is 0."""
    return _ratio(intersection, union)


def iou_per_class(confusion_matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, (..., classes) float64.

    As in PASCAL VOC (Everingham et al. 2010, section 4.4). A class that is neither true nor predicted anywhere has no
    IoU: NaN.

    Args:
        confusion_matrix: (..., classes, classes) int64.
    """
    return iou(*intersection_and_union(confusion_matrix))


def accuracy_per_class(confusion_matrix: np.ndarray) -> np.ndarray:
    """Share of each class's true pixels that is predicted correctly, (classes,) float64; NaN for a class without any.

    Args:
        confusion_matrix: (classes, classes) int64.
    """
    return _ratio(np.diagonal(confusion_matrix), confusion_matrix.sum(axis=1))


def dice_per_class(confusion_matrix: np.ndarray) -> np.ndarray:
    """Dice score of each class, (..., classes) float64: 2 true positives / (true pixels + predicted pixels).

    The same as its F1 score (Dice 1945; Taha and Hanbury 2015, section 3.1.1). NaN for a class without an IoU.

    Args:
        confusion_matrix: (..., classes, classes) int64.
    """
    intersection, union = intersection_and_union(confusion_matrix)
    return _ratio(2 * intersection, union + intersection)


def precision_per_class(confusion_matrix: np.ndarray) -> np.ndarray:
    """Share of each class's predicted pixels that is true, (..., classes) float64.

    0 for a class that is true somewhere but never predicted, NaN for a class without an IoU.

    Args:
        confusion_matrix: (..., classes, classes) int64.
    """
    return _scored_share(confusion_matrix, confusion_matrix.sum(axis=-2))


def recall_per_class(confusion_matrix: np.ndarray) -> np.ndarray:
    """Share of each class's true pixels that is predicted, (..., classes) float64.

    `accuracy_per_class`, but for a class that is predicted somewhere but never true: 0, so that the mean counts it as
    that of the IoU does. NaN for a class without an IoU.

    Args:
        confusion_matrix: (..., classes, classes) int64.
    """
    return _scored_share(confusion_matrix, confusion_matrix.sum(axis=-1))


def frequency_weighted_iou(confusion_matrix: np.ndarray) -> float:
    """Mean of the IoUs, each weighted with its class's share of the true pixels; NaN for a matrix without pixels.

    Long et al. 2015 ("Fully convolutional networks for semantic segmentation", section 5).

    Args:
        confusion_matrix: (classes, classes) int64.
    """
    true = confusion_matrix.sum(axis=1)
    total = true.sum()
    weighted = np.where(true > 0, true * iou_per_class(confusion_matrix), 0)
    return float(weighted.sum() / total) if total else math.nan


def mean_over_classes(scores: np.ndarray) -> np.ndarray:
    """Mean of the scores that are not NaN, from (..., classes) to (...,) float64; NaN where all are NaN."""
    exists = ~np.isnan(scores)
    return _ratio(np.asarray(np.where(exists, scores, 0).sum(axis=-1)), np.asarray(exists.sum(axis=-1)))


def mean_iou(confusion_matrix: np.ndarray) -> float:
    """Mean IoU of the classes that have one; NaN for a matrix without pixels.

    Args:
        confusion_matrix: (classes, classes) int64.
    """
    return float(mean_over_classes(iou_per_class(confusion_matrix)))


def pixel_accuracy(confusion_matrix: np.ndarray) -> float:
    """Share of the valid pixels that is predicted correctly; NaN for a matrix without pixels.

    Args:
        confusion_matrix: (classes, classes) int64.
    """
    total = confusion_matrix.sum()
    return float(np.trace(confusion_matrix) / total) if total else math.nan


def _scored_share(confusion_matrix: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Each class's correct pixels / `whole`, 0 where that is 0; NaN for a class that is neither true nor predicted."""
    correct, union = intersection_and_union(confusion_matrix)
    return np.where(union > 0, np.divide(correct, whole, out=np.zeros(whole.shape), where=whole > 0), np.nan)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def mean_iou_interval(images: Sequence[np.ndarray]) -> tuple[float, float]:
    """The interval that holds 95 % of the mean IoUs of resampled splits, a percentile bootstrap.

    It says how far the score depends on which images are in the split, not how much another training would change it.
    NaN for fewer than two images: every resample of one is that image, so the interval would always have width 0.

    Args:
        images: of each image, (2, classes) int64: intersections and unions. Their order matters for the last digits.
    """
    if len(images) < 2:
        return math.nan, math.nan
    counts = np.stack(images, axis=1)  # (2, images, classes)
    low, high = percentiles(mean_over_classes(iou(*resampled_sums(counts))))
    return float(low), float(high)


@dataclass
class Scores:
    """The scores of one split.

    `loss` is the training loss of each whole image, averaged with its number of valid pixels as weight: for the
    cross-entropy without class weights, that is the mean over all valid pixels of the split. Scores of no valid pixel
    are NaN.
    """

    confusion_matrix: np.ndarray  # (classes, classes) int64
    loss: float
    # example id -> (2, classes) int64: intersections and unions of that image; one without valid pixels is missing
    images: dict[str, np.ndarray] = field(default_factory=dict)
    # (2, classes) int64: intersections and unions of boundaries, see pipeline.evaluate.boundary; None: not counted
    boundary_counts: np.ndarray | None = None

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the whole split."""
        return mean_iou(self.confusion_matrix)

    @property
    def image_iou(self) -> dict[str, float]:
        """Example id -> mean IoU of that image alone; an image without valid pixels is missing."""
        return {name: float(mean_over_classes(iou(*counts))) for name, counts in self.images.items()}

    @property
    def mean_iou_interval(self) -> tuple[float, float]:
        """Lower and upper end of the mean IoU over other images like these; see `pipeline.evaluate.bootstrap`.

        NaN for fewer than two images. The same whatever the order in which the images were scored.
        """
        return mean_iou_interval([self.images[name] for name in sorted(self.images)])

    @property
    def mean_dice(self) -> float:
        """Mean Dice score of the whole split."""
        return float(mean_over_classes(dice_per_class(self.confusion_matrix)))

    @property
    def mean_precision(self) -> float:
        """Mean precision of the whole split."""
        return float(mean_over_classes(precision_per_class(self.confusion_matrix)))

    @property
    def mean_recall(self) -> float:
        """Mean recall of the whole split."""
        return float(mean_over_classes(recall_per_class(self.confusion_matrix)))

    @property
    def frequency_weighted_iou(self) -> float:
        """Frequency-weighted IoU of the whole split."""
        return frequency_weighted_iou(self.confusion_matrix)

    @property
    def pixel_accuracy(self) -> float:
        """Pixel accuracy of the whole split."""
        return pixel_accuracy(self.confusion_matrix)

    @property
    def boundary_iou_per_class(self) -> np.ndarray:
        """Boundary IoU of each class, (classes,) float64; NaN for a class without boundary, and if not counted."""
        if self.boundary_counts is None:
            return np.full(len(self.confusion_matrix), np.nan)
        return iou(*self.boundary_counts)

    @property
    def boundary_iou(self) -> float:
        """Mean boundary IoU of the whole split."""
        return float(mean_over_classes(self.boundary_iou_per_class))

    @property
    def absent(self) -> np.ndarray:
        """Indices of the classes without true pixels, in ascending order. Their IoU is 0, or NaN if never predicted."""
        return np.flatnonzero(self.confusion_matrix.sum(axis=1) == 0)

    @property
    def collapsed(self) -> bool:
        """Whether the mean IoU is at most 5 % above that of predicting the most frequent class everywhere.

        Never for a split with fewer than two classes, of which no prediction could be better.
        """
        true = self.confusion_matrix.sum(axis=1)
        classes = int((true > 0).sum())
        if classes < 2:
            return False
        one_class = true.max() / true.sum() / classes
        return bool(self.mean_iou <= 1.05 * one_class)
