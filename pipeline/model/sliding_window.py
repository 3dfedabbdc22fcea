"""Sliding-window prediction: logits of a large image from windows that overlap by half (`evaluate.window`)."""

from collections.abc import Callable

import tensorflow as tf

Network = Callable[[tf.Tensor], tf.Tensor]  # (batch, height, width, 3) uint8 to (batch, height, width, classes) logits


def sliding_window_logits(network: Network, padded: tf.Tensor, window: int) -> tf.Tensor:
    """The mean, at each pixel, of the logits of all windows that cover it.

    Windows with the same top are first summed in a band of their height, and each band is added to the image once:
    adding every window to the full image would read and write all of its logits each time.

    Args:
        padded: (batch, height, width, 3) uint8.
        window: side of the square windows; a shorter side of the image is used as a whole.

    Returns:
        (batch, height, width, classes) float32.
    """
    image_height, image_width = tf.unstack(tf.shape(padded)[1:3])
    height, width = tf.minimum(image_height, window), tf.minimum(image_width, window)
    tops, lefts = _positions(image_height, height), _positions(image_width, width)

    def window_logits(top: tf.Tensor, left: tf.Tensor) -> tf.Tensor:
        """Logits of a window, padded with zeros to the width of the image: (batch, height, image width, classes)."""
        logits = network(padded[:, top : top + height, left : left + width])
        return tf.pad(logits, [[0, 0], [0, 0], [left, image_width - left - width], [0, 0]])

    def band_logits(top: tf.Tensor) -> tf.Tensor:
        """The sum of the windows at `top`, padded with zeros: (batch, image height, image width, classes)."""
        band = _sum_over(lefts, lambda left: window_logits(top, left))
        return tf.pad(band, [[0, 0], [top, image_height - top - height], [0, 0], [0, 0]])

    total = _sum_over(tops, band_logits)
    rows, columns = _coverage(image_height, tops, height), _coverage(image_width, lefts, width)
    return total / (tf.reshape(rows, [-1, 1, 1]) * tf.reshape(columns, [-1, 1]))


def _sum_over(positions: tf.Tensor, function: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """The sum of function(position), each (batch, height, width, classes).

    One position after the other, so that memory holds two of them. The initial value has one element, which the first
    addition broadcasts: the network then occurs once in the graph.
    """
    _, total = tf.while_loop(
        lambda number, _: number < tf.shape(positions)[0],
        lambda number, total: (number + 1, total + function(positions[number])),
        (tf.constant(0), tf.zeros([1, 1, 1, 1])),
        shape_invariants=(tf.TensorShape([]), tf.TensorShape([None, None, None, None])),
        parallel_iterations=1,
    )
    return total


def _positions(length: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """First pixels of the windows along one axis, int32: evenly spaced from edge to edge, at most half a side apart."""
    gaps = (2 * (length - side) + side - 1) // side  # rounded up, without negative numbers: see `pipeline.export.graph`
    return tf.range(gaps + 1) * (length - side) // tf.maximum(gaps, 1)


def _coverage(length: tf.Tensor, positions: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """How many windows cover each pixel along one axis, (length,) float32."""
    offsets = tf.range(length) - positions[:, tf.newaxis]  # (windows, length)
    return tf.reduce_sum(tf.cast((offsets >= 0) & (offsets < side), tf.float32), axis=0)
