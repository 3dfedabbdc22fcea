"""Scores from a confusion matrix: the only place where IoU is computed."""

from dataclasses import dataclass, field

import numpy as np


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)


def iou_per_class(confusion_matrix: np.ndarray) -> np.ndarray:
    """Intersection over union of each class, (classes,) float64 (Everingham et al. 2010, section 4.4, PASCAL VOC).

    A class that is neither in the truth nor in any prediction has no IoU: NaN.

    Args:
        confusion_matrix: (classes, classes) int64 counts of pixels; rows are the truth, columns the prediction.
    """
    both = np.diag(confusion_matrix)
    return _ratio(both, confusion_matrix.sum(axis=0) + confusion_matrix.sum(axis=1) - both)


def accuracy_per_class(confusion_matrix: np.ndarray) -> np.ndarray:
    """Share of each class's true pixels that is predicted as it, (classes,) float64; NaN for a class without any."""
    return _ratio(np.diag(confusion_matrix), confusion_matrix.sum(axis=1))


def mean_iou(confusion_matrix: np.ndarray) -> float:
    """The mean of the IoUs that exist; 0 for a matrix without any pixel."""
    values = iou_per_class(confusion_matrix)
    return float(np.nanmean(values)) if np.isfinite(values).any() else 0.0


def pixel_accuracy(confusion_matrix: np.ndarray) -> float:
    """Share of the valid pixels that is predicted right; 0 where there is none."""
    total = confusion_matrix.sum()
    return float(np.trace(confusion_matrix) / total) if total else 0.0


@dataclass
class Scores:
    """What a split scored.

    `loss` is the training loss of each whole image, averaged with its valid pixels as weights: for the cross-entropy
    without class weights that is the mean over all valid pixels of the split.
    """

    confusion_matrix: np.ndarray  # (classes, classes) int64; rows are the truth, columns the prediction
    loss: float
    # id -> mean IoU of that image alone; not of one that has no valid pixel
    image_iou: dict[str, float] = field(default_factory=dict)

    @property
    def mean_iou(self) -> float:
        return mean_iou(self.confusion_matrix)

    @property
    def pixel_accuracy(self) -> float:
        return pixel_accuracy(self.confusion_matrix)

    @property
    def collapsed(self) -> bool:
        """Whether the mean IoU is no better than that of predicting the most frequent class everywhere, within 5 %."""
        true = self.confusion_matrix.sum(axis=1)
        one_class = true.max() / max(1, true.sum()) / max(1, int((true > 0).sum()))
        return bool(self.mean_iou <= 1.05 * one_class)
