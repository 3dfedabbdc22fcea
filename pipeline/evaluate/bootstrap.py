"""How much a score over a split would vary with other images: the bootstrap over images. Pure NumPy."""

import numpy as np

RESAMPLES, SEED, LEVEL = 2000, 0, 0.95


def resamples(images: int, count: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """How often each image is in each resample: drawn with replacement, as many as there are, (count, images) float64.

    (Efron and Tibshirani 1993, chapter 13.) In float64, so that sums over a resample are a matrix product, which is
    exact for numbers of pixels.
    """
    drawn = np.random.default_rng(seed).integers(images, size=(count, images))  # indices of images
    places = drawn + images * np.arange(count)[:, np.newaxis]
    return np.bincount(places.ravel(), minlength=count * images).reshape(count, images).astype(np.float64)


def percentiles(values: np.ndarray, axis: int = 0, level: float = LEVEL) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper end of the percentile interval; NaN where all values are NaN, which are else left out.

    Args:
        axis: that of the resamples.
    """
    tail = 50 * (1 - level)
    exists = np.isfinite(values).any(axis=axis)
    with_zeros = np.where(np.expand_dims(exists, axis), values, 0)  # numpy warns of slices without a number
    low, high = np.nanpercentile(with_zeros, [tail, 100 - tail], axis=axis)
    return np.where(exists, low, np.nan), np.where(exists, high, np.nan)
