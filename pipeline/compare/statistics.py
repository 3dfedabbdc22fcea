"""Scores of single images under several runs, and how sure a difference between runs is. Pure numpy."""

import warnings

import numpy as np

from pipeline.data.palette import VOID
from pipeline.evaluate.metrics import iou_per_class, mean_iou

RESAMPLES, SEED = 2000, 0


def image_confusion(truth: np.ndarray, prediction: np.ndarray, classes: int) -> np.ndarray:
    """Counts of (truth, prediction) pairs over the valid pixels of an image, (classes, classes) int64.

    Args:
        truth, prediction: (height, width) uint8 class indices; truth is 255 where void.

    Raises:
        ValueError: shapes differ, or a valid pixel has an index without a class.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has {truth.shape} pixels and prediction {prediction.shape}")
    valid = truth != VOID
    true, predicted = truth[valid].astype(np.int64), prediction[valid].astype(np.int64)
    if true.size and max(true.max(), predicted.max()) >= classes:
        raise ValueError(f"class index {max(true.max(), predicted.max())}; at most {classes - 1} expected")
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def image_ious(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean IoU and IoU of each class for every image alone: (…,) and (…, classes) float64, NaN where there is none.

    Args:
        counts: (…, classes, classes) int64 confusion matrices.
    """
    matrices = counts.reshape(-1, *counts.shape[-2:])
    means = np.array([mean_iou(matrix) if matrix.any() else np.nan for matrix in matrices])
    classes = np.array([iou_per_class(matrix) for matrix in matrices])
    return means.reshape(counts.shape[:-2]), classes.reshape(counts.shape[:-1])


def iou_gaps(ious: np.ndarray) -> np.ndarray:
    """Largest minus smallest IoU over the runs, the first axis; NaN where fewer than two runs have one."""
    there = np.isfinite(ious)
    high = np.where(there, ious, -np.inf).max(axis=0)
    low = np.where(there, ious, np.inf).min(axis=0)
    return np.where(there.sum(axis=0) > 1, high - low, np.nan)


def disagreement(predictions: list[np.ndarray]) -> float:
    """Share of the pixels for which not all predictions are the same: the gap where there is no truth."""
    if len(predictions) < 2 or any(mask.shape != predictions[0].shape for mask in predictions):
        return 0.0
    return float(np.any([mask != predictions[0] for mask in predictions[1:]], axis=0).mean())


def bootstrap_differences(
    counts: np.ndarray, best: int, resamples: int = RESAMPLES, seed: int = SEED, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """IoU of each run minus that of the best one, with percentile bootstrap intervals over images.

    Images are drawn with replacement, the same ones for every run (paired), and the confusion matrices of the drawn
    images are summed, as for the score of a split (Efron and Tibshirani 1993, chapter 13).

    Args:
        counts: (runs, images, classes, classes) int64 confusion matrices.
        best: index of the run that the others are compared with.

    Returns:
        Difference, lower and upper end, each (runs, 1 + classes) float64: first the mean IoU, then each class. NaN
        where a class has no IoU.
    """
    images = counts.shape[1]
    both = np.einsum("rpcc->rpc", counts).astype(np.float64)
    union = counts.sum(axis=2) + counts.sum(axis=3) - both  # (runs, images, classes)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(images, np.full(images, 1 / images), size=resamples).astype(np.float64)
    exact = _ious(both.sum(axis=1, keepdims=True), union.sum(axis=1, keepdims=True))  # (runs, 1, 1 + classes)
    ious = _ious(drawn @ both, drawn @ union)  # (runs, resamples, 1 + classes)
    tail = 50 * (1 - level)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class that no resample has
        low, high = np.nanpercentile(ious - ious[best], [tail, 100 - tail], axis=1)
    return (exact - exact[best])[:, 0], low, high


def _ious(both: np.ndarray, union: np.ndarray) -> np.ndarray:
    """Mean IoU and IoU of each class, (…, 1 + classes), from intersections and unions (…, classes)."""
    ious = np.divide(both, union, out=np.full(both.shape, np.nan), where=union > 0)
    there = np.isfinite(ious)
    mean = np.where(there, ious, 0).sum(axis=-1) / np.maximum(1, there.sum(axis=-1))
    return np.concatenate([mean[..., None], ious], axis=-1)
