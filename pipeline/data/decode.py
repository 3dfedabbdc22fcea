"""The one way from a file to what the network sees: decode, scale to the long side, pad to what the network can halve.

Training, validation, test, prediction and serving all come through here, so they see the same numbers.
"""

import zlib
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.data.image_files import read_index_mask

BYTES = [bytes([value]) for value in range(256)]
PALETTE, GREY = (zlib.crc32(b"IHDR" + bytes(8) + bytes([8, colour_type, 0, 0, 0])) for colour_type in (3, 0))
CRC_CHANGE = np.frombuffer((PALETTE ^ GREY).to_bytes(4, "big"), np.uint8)


def decode_image(path: tf.Tensor) -> tf.Tensor:
    """The image of a file, (height, width, 3) uint8 RGB, in the file's own pixel frame (no EXIF rotation).

    Grey is repeated, alpha is dropped, CMYK is converted. `INTEGER_ACCURATE` is the JPEG standard's reference transform
    and what Pillow uses; TensorFlow's faster default gives other pixels.

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged or no image. (A GIF would pass: `open_image` refuses it.)
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

    TensorFlow's decoder would turn a palette's indices into colours. It is given the file as if it had no palette: that
    is twice as fast as Pillow, and waits for no lock of Python's.
    """
    content = tf.io.read_file(path)
    head = tf.strings.join([tf.strings.substr(content, 0, 41), b"\x00" * 41])  # however short the file is
    kind, next_chunk = tf.strings.substr(head, 24, 2), tf.strings.substr(head, 37, 4)  # bits and colour type
    mask = tf.case(
        [
            (kind == b"\x08\x00", lambda: tf.io.decode_png(content, channels=1)[..., 0]),
            (
                (kind == b"\x08\x03") & (next_chunk == b"PLTE"),
                lambda: tf.io.decode_png(_without_palette(content), channels=1)[..., 0],
            ),
        ],
        lambda: tf.numpy_function(_decode_by_pillow, [path], tf.uint8, stateful=False),  # fewer bits, other chunks
    )
    return tf.ensure_shape(mask, (None, None))


def _decode_by_pillow(path: bytes | np.ndarray) -> np.ndarray:
    """Args: path: numpy_function passes bytes in a graph, and an array of one string outside of one."""
    return read_index_mask(Path(tf.compat.as_str(np.asarray(path).item())))


def _without_palette(content: tf.Tensor) -> tf.Tensor:
    """An 8-bit palette PNG as the grey one of its indices: another colour type, no palette and no transparency.

    PNG specification (ISO/IEC 15948), 5.3 and 11.2: the colour type is byte 25, the checksum of what it stands in bytes
    29 to 32. A CRC is linear, so the same change of the content is always the same change of the checksum.
    """
    crc = tf.bitwise.bitwise_xor(tf.io.decode_raw(tf.strings.substr(content, 29, 4), tf.uint8), CRC_CHANGE)
    at = 33
    for name in (b"PLTE", b"tRNS"):
        length = tf.io.decode_raw(tf.strings.substr(content, at, 4), tf.int32, little_endian=False)[0]
        at = tf.where(tf.strings.substr(content, at + 4, 4) == name, at + 12 + length, at)
    return tf.strings.join(
        [
            tf.strings.substr(content, 0, 25), b"\x00", tf.strings.substr(content, 26, 3),
            tf.strings.reduce_join(tf.gather(tf.constant(BYTES), tf.cast(crc, tf.int32))),
            tf.strings.substr(content, at, tf.strings.length(content) - at),
        ]
    )  # fmt: skip


def working_size(size: tf.Tensor, long_side: int | None) -> tf.Tensor:
    """(..., height and width) int32 of images scaled to the long side, at least one pixel each; null: their own."""
    if long_side is None:
        return size
    exact = tf.cast(size, tf.float64) * (long_side / tf.cast(tf.reduce_max(size, -1, keepdims=True), tf.float64))
    return tf.maximum(tf.cast(tf.round(exact), tf.int32), 1)


def scale_image(image: tf.Tensor, long_side: int | None) -> tf.Tensor:
    """The image with the given long side, (height, width, 3) uint8, interpolated bilinearly with anti-aliasing."""
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
    """The image reflected beyond its right and bottom edge up to the next multiple of both sides, same dtype.

    The edge pixel is not repeated, and an image smaller than its padding is reflected to and fro.
    """
    for axis in (0, 1):
        length = tf.shape(image)[axis]
        wanted = -(-length // multiple) * multiple
        period = tf.maximum(2 * length - 2, 1)
        position = tf.range(length, wanted) % period
        reflected = tf.gather(image, tf.minimum(position, period - position), axis=axis)
        image = tf.concat([image, reflected], axis)
    return image
