"""Which examples an epoch has and in which order, as pure functions of (seed, epoch)."""

import numpy as np
import tensorflow as tf

UNIT = 2**16  # repeat factors are counted in integer units of 1 / UNIT: their sums are then exact in any order


def shuffled_indices(seed: int | tf.Tensor, epoch: tf.Tensor, count: int) -> tf.Tensor:
    """A uniformly drawn order of 0 .. count - 1, (count,) int32, as a function of (seed, epoch).

    It sorts random keys. `tf.random.experimental.index_shuffle` would need no memory but is far from uniform: over 4000
    seeds the chi-squared of (position, index) was 12 to 16 times its degrees of freedom.

    Args:
        seed: as a tensor, int64.
        epoch: integer scalar.
    """
    key = tf.random.fold_in(_key(seed, 0), tf.cast(epoch, tf.int64))
    drawn = tf.random.stateless_uniform([count], key, minval=None, maxval=None, dtype=tf.int64, alg="philox")
    return tf.argsort(drawn, stable=True)


def repeat_factors(class_pixels: np.ndarray, background: int | None) -> np.ndarray:
    """How often each image is drawn relative to an image of the commonest object alone, (examples,) float64, from 1.

    The factor of a class is the square root of (share of images with the commonest object / share with this one); the
    factor of an image is the largest among its classes. This is repeat factor sampling (Gupta, Dollár and Girshick
    2019, section 5.2) with the share of the commonest object as the threshold.

    Args:
        class_pixels: (examples, classes) pixels of each class in each image.
        background: its index; it is no object. None: every class is one.
    """
    objects = class_pixels > 0  # (examples, objects)
    if background is not None:
        objects = np.delete(objects, background, axis=1)
    images = objects.sum(axis=0)  # (objects,) with each object
    of_class = np.sqrt(images.max(initial=1) / np.maximum(images, 1))
    return np.max(np.where(objects, of_class, 1.0), axis=1, initial=1.0)


def balanced_draws(
    seed: int | tf.Tensor, epoch: tf.Tensor, factors: np.ndarray, count: int
) -> tuple[tf.Tensor, tf.Tensor]:
    """The draws of an epoch in which images are as frequent as their repeat factors, in a uniformly drawn order.

    Systematic sampling: the images lie side by side on a line in a shuffled order, each as long as its factor, and
    `count` evenly spaced points from a random start each draw the image they lie in. So each image is drawn
    floor or ceil of its expected number of times.

    Args:
        seed: as a tensor, int64.
        epoch: integer scalar.
        factors: (examples,) from `repeat_factors`.
        count: number of draws.

    Returns:
        (count,) int32 indices of examples, and (count,) int32 how often each was drawn before in the epoch.
    """
    line = shuffled_indices(seed, epoch, len(factors))
    ends = tf.cumsum(tf.gather(tf.constant(np.rint(factors * UNIT), tf.int64), line))  # (examples,)
    key = tf.random.fold_in(tf.random.fold_in(_key(seed, 1), tf.cast(epoch, tf.int64)), 0)
    start = tf.random.stateless_uniform(
        [], key, maxval=ends[-1], minval=tf.constant(0, tf.int64), dtype=tf.int64, alg="philox"
    )
    points = (tf.range(count, dtype=tf.int64) * ends[-1] + start) // count
    places = tf.searchsorted(ends, points, side="right")  # (count,) on the line, ascending
    repeated = tf.range(count) - tf.searchsorted(places, places)
    mixed = shuffled_indices(seed + 1, epoch, count)
    return tf.gather(tf.gather(line, places), mixed), tf.gather(repeated, mixed)


def _key(seed: int | tf.Tensor, purpose: int) -> tf.Tensor:
    return tf.stack([tf.convert_to_tensor(seed, tf.int64), purpose])
