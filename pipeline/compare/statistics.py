"""Differences between runs: by image, and over a split with bootstrap intervals. Pure NumPy."""

import numpy as np

from pipeline.evaluate.bootstrap import LEVEL, RESAMPLES, SEED, percentiles, resampled_sums
from pipeline.evaluate.metrics import intersection_and_union, iou, iou_per_class, mean_over_classes


def image_ious(confusion_matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean IoU and IoU per class of each image alone: (...,) and (..., classes) float64, NaN where undefined.

    Args:
        confusion_matrices: (..., classes, classes) int64.
    """
    ious = iou_per_class(confusion_matrices)
    return mean_over_classes(ious), ious


def iou_gaps(ious: np.ndarray) -> np.ndarray:
    """Largest minus smallest IoU over the runs, which are the first axis; NaN where fewer than two runs have one."""
    exists = np.isfinite(ious)
    high = np.where(exists, ious, -np.inf).max(axis=0)
    low = np.where(exists, ious, np.inf).min(axis=0)
    return np.where(exists.sum(axis=0) > 1, high - low, np.nan)


def disagreement(predictions: list[np.ndarray]) -> float:
    """Share of the pixels at which the predictions are not all equal: the gap for an image without a true mask.

    0 for fewer than two predictions, and for predictions of different sizes, which cannot be compared.
    """
    if len(predictions) < 2 or any(mask.shape != predictions[0].shape for mask in predictions):
        return 0.0
    return float(np.any([mask != predictions[0] for mask in predictions[1:]], axis=0).mean())


def bootstrap_differences(
    confusion_matrices: np.ndarray, best: int, count: int = RESAMPLES, seed: int = SEED, level: float = LEVEL
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """IoU of each run minus that of the best one, with percentile bootstrap intervals over images.

    Images are drawn with replacement, the same ones for every run (paired), and the confusion matrices of the drawn
    images are summed, as for the score of a split.

    Args:
        confusion_matrices: (runs, images, classes, classes) int64.
        best: index of the run that the others are compared with.
        count: of resamples.

    Returns:
        Difference, lower and upper end, each (runs, 1 + classes) float64: first the mean IoU, then each class. NaN
        for a class without an IoU; the ends are NaN for fewer than two images, which cannot be resampled.
    """
    images = confusion_matrices.shape[1]
    intersection, union = intersection_and_union(confusion_matrices)  # each (runs, images, classes)
    exact = _mean_and_classes(intersection.sum(axis=1, keepdims=True), union.sum(axis=1, keepdims=True))
    difference = (exact - exact[best])[:, 0]
    if images < 2:
        return difference, np.full(difference.shape, np.nan), np.full(difference.shape, np.nan)
    sums = resampled_sums(np.stack([intersection, union]), count, seed)
    ious = _mean_and_classes(*sums)  # (runs, resamples, 1 + classes)
    low, high = percentiles(ious - ious[best], axis=1, level=level)
    return difference, low, high


def _mean_and_classes(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Mean IoU, then IoU per class, (..., 1 + classes), from intersections and unions (..., classes)."""
    ious = iou(intersection, union)
    return np.concatenate([mean_over_classes(ious)[..., None], ious], axis=-1)
