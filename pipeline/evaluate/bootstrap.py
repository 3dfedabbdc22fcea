"""How much a score over a split would vary with other images: the bootstrap over images. Pure NumPy."""

import numpy as np

RESAMPLES, SEED, LEVEL = 2000, 0, 0.95
BLOCK = 2**20  # numbers drawn at a time: tens of megabytes, however many images there are


def resampled_sums(values: np.ndarray, count: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """The sums over the images of each resample, (..., count, columns) float64.

    A resample has as many images as there are, drawn with replacement (Efron and Tibshirani 1993, chapter 13): the same
    ones for all leading axes. Exact for numbers of pixels, of which float64 adds 2**53.

    Args:
        values: (..., images, columns).
    """
    values, images = values.astype(np.float64), values.shape[-2]
    rng, rows = np.random.default_rng(seed), max(1, BLOCK // images)
    blocks = [draw(rng, images, min(rows, count - first)) @ values for first in range(0, count, rows)]
    return np.concatenate(blocks, axis=-2)


def draw(rng: np.random.Generator, images: int, count: int) -> np.ndarray:
    """How often each image is in each of the next resamples, (count, images) float64; in any blocks the same ones."""
    drawn = rng.integers(images, size=(count, images))  # indices of images
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
