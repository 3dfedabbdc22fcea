"""The one way from a file to what the network sees: decode, scale to the long side, pad to what the network can halve.

Training, validation, test, prediction and serving all come through here, so they see the same numbers.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image


def decode_image(path: tf.Tensor) -> tf.Tensor:
    """The picture of a file, (height, width, 3) uint8 RGB, in the file's own pixel frame (no EXIF rotation).

    Grey is repeated, alpha is dropped, CMYK is converted. `INTEGER_ACCURATE` is the JPEG standard's reference transform
    and what Pillow uses; TensorFlow's faster default gives other pixels.

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged or no picture. (A GIF would pass: `open_image` refuses it.)
    """
    content = tf.io.read_file(path)
    image = tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(content, channels=3),
    )
    return tf.ensure_shape(image, (None, None, 3))


def decode_file(path: Path) -> np.ndarray:
    """`decode_image` outside of a graph.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return decode_image(str(path)).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError("its data are damaged or end too early") from error


def decode_mask(path: tf.Tensor) -> tf.Tensor:
    """The class indices of a palette or one-channel PNG, (height, width) uint8; 255 is void.

    Pillow gives a palette PNG's indices; TensorFlow's decoder would turn them into colours.
    """
    # Called eagerly, numpy_function hands over an array with the path in it; in a graph, the path itself.
    mask = tf.numpy_function(lambda path: read_mask(np.asarray(path).item()), [path], tf.uint8, stateful=False)
    return tf.ensure_shape(mask, (None, None))


def read_mask(path: bytes | str | Path) -> np.ndarray:
    """`decode_mask` outside of TensorFlow."""
    with Image.open(path.decode() if isinstance(path, bytes) else path, formats=("PNG",)) as image:
        return np.array(image, np.uint8)


def working_size(size: tf.Tensor, long_side: int | None) -> tf.Tensor:
    """(height, width) int32 of a picture scaled to the long side, at least one pixel each; null: its own size."""
    if long_side is None:
        return size
    exact = tf.cast(size, tf.float64) * (long_side / tf.cast(tf.reduce_max(size), tf.float64))
    return tf.maximum(tf.cast(tf.round(exact), tf.int32), 1)


def scale_image(image: tf.Tensor, long_side: int | None) -> tf.Tensor:
    """The picture with the given long side, (height, width, 3) uint8, interpolated bilinearly with anti-aliasing."""
    if long_side is None:
        return image
    size = tf.shape(image)[:2]
    scaled = tf.image.resize(image, working_size(size, long_side), antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8)


def scale_mask(mask: tf.Tensor, long_side: int | None) -> tf.Tensor:
    """The mask beside `scale_image`, (height, width) uint8, by the nearest neighbour; for training, not for scores."""
    if long_side is None:
        return mask
    size = working_size(tf.shape(mask), long_side)
    return tf.image.resize(mask[..., tf.newaxis], size, method="nearest")[..., 0]


def padded_length(length: int, multiple: int) -> int:
    """The next multiple."""
    return -(-length // multiple) * multiple


def pad_reflect(image: tf.Tensor, multiple: int) -> tf.Tensor:
    """The picture reflected beyond its right and bottom edge up to the next multiple of both sides, same dtype.

    The edge pixel is not repeated, and a picture smaller than its padding is reflected to and fro.
    """
    for axis in (0, 1):
        length = tf.shape(image)[axis]
        wanted = -(-length // multiple) * multiple
        period = tf.maximum(2 * length - 2, 1)
        position = tf.range(wanted) % period
        image = tf.gather(image, tf.minimum(position, period - position), axis=axis)
    return image
