"""Scores from confusion matrices: the only place where IoU, accuracy and their means are computed.

A confusion matrix holds counts of pixels, (classes, classes) int64: rows are the true class, columns the predicted one.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from pipeline.data.palette import VOID


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


def mean_over_classes(ious: np.ndarray) -> np.ndarray:
    """Mean of the IoUs that are not NaN, from (..., classes) to (...,) float64; NaN where all are NaN."""
    exists = ~np.isnan(ious)
    return _ratio(np.asarray(np.where(exists, ious, 0).sum(axis=-1)), np.asarray(exists.sum(axis=-1)))


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


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


@dataclass
class Scores:
    """The scores of one split.

    `loss` is the training loss of each whole image, averaged with its number of valid pixels as weight: for the
    cross-entropy without class weights, that is the mean over all valid pixels of the split. Scores of no valid pixel
    are NaN.
    """

    confusion_matrix: np.ndarray  # (classes, classes) int64
    loss: float
    # example id -> mean IoU of that image alone; an image without valid pixels is missing
    image_iou: dict[str, float] = field(default_factory=dict)

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the whole split."""
        return mean_iou(self.confusion_matrix)

    @property
    def pixel_accuracy(self) -> float:
        """Pixel accuracy of the whole split."""
        return pixel_accuracy(self.confusion_matrix)

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
