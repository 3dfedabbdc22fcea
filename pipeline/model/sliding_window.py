"""An image too large for the network at once, seen through windows that overlap by half (`evaluate.window`)."""

from collections.abc import Callable

import tensorflow as tf

Network = Callable[[tf.Tensor], tf.Tensor]  # (1, height, width, 3) uint8 to (1, height, width, classes) logits


def by_windows(network: Network, padded: tf.Tensor, window: int) -> tf.Tensor:
    """The mean, at each pixel, of the logits of all windows over it.

    A row of windows is summed in a band of their height, and each band added to the whole once: to add every window to
    the whole image would cost an image's logits each time.

    Args:
        padded: (height, width, 3) uint8.
        window: side of the squares; a side of the image that is no longer is taken whole.

    Returns:
        (1, height, width, classes).
    """
    whole_height, whole_width = tf.unstack(tf.shape(padded)[:2])
    height, width = tf.minimum(whole_height, window), tf.minimum(whole_width, window)
    tops, lefts = _positions(whole_height, height), _positions(whole_width, width)

    def in_band(top: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
        """Logits of a window among zeros, (1, height, whole width, classes)."""
        logits = network(padded[tf.newaxis, top : top + height, left : left + width])
        return tf.pad(logits, [[0, 0], [0, 0], [left, whole_width - left - width], [0, 0]])

    def in_whole(top: tf.Tensor) -> tf.Tensor:
        """The band whose windows begin at `top`, summed, among zeros, (1, whole height, whole width, classes)."""
        band = _sum_over(lefts, lambda left: in_band(top, left))
        return tf.pad(band, [[0, 0], [top, whole_height - top - height], [0, 0], [0, 0]])

    total = _sum_over(tops, in_whole)
    count = _windows_over(whole_height, tops, height)[:, tf.newaxis] * _windows_over(whole_width, lefts, width)
    return total / count[tf.newaxis, ..., tf.newaxis]


def _sum_over(positions: tf.Tensor, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """The sum over positions of a function's (1, height, width, classes), one after the other to hold only two."""
    _, total = tf.while_loop(
        lambda number, _: number < tf.shape(positions)[0],
        lambda number, total: (number + 1, total + function(positions[number])),
        (
            tf.constant(0),
            tf.zeros([1, 1, 1, 1]),
        ),  # broadcast by the first sum, so that the network is in the graph once
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([1, None, None, None])),
        parallel_iterations=1,
    )
    return total


def _positions(length: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Where windows of a side begin: evenly from 0 to the end, no further apart than half a side."""
    gaps = -(-2 * (length - side) // side)
    return tf.range(gaps + 1) * (length - side) // tf.maximum(gaps, 1)


def _windows_over(length: tf.Tensor, positions: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """How many windows there are over each pixel of a side, (length,) float32."""
    behind = tf.range(length) - positions[:, tf.newaxis]  # (windows, length)
    return tf.reduce_sum(tf.cast((behind >= 0) & (behind < side), tf.float32), axis=0)
