"""The one way from a file to the input of the network: decode, scale to the long side, pad to a multiple.

Training, validation, test, prediction and serving all use these functions, so they see the same numbers.
"""

import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf

from pipeline.data.image_files import read_index_mask
from pipeline.data.pixels import COLUMNS_REVERSED, ROWS_REVERSED, TRANSPOSED, scaled_values
from pipeline.data.voc import Example

BYTES = [bytes([value]) for value in range(256)]
# The checksum of an 8-bit PNG's header differs by CRC_CHANGE between palette (colour type 3) and grey (0).
PALETTE, GREY = (zlib.crc32(b"IHDR" + bytes(8) + bytes([8, colour_type, 0, 0, 0])) for colour_type in (3, 0))
CRC_CHANGE = np.frombuffer((PALETTE ^ GREY).to_bytes(4, "big"), np.uint8)


def decode_image(
    path: tf.Tensor, orientation: tf.Tensor | None = None, intensity: tuple[float, float] | None = None
) -> tf.Tensor:
    """The image of a file, (height, width, 3) uint8 RGB.

    Grey is repeated in all three channels, alpha is dropped, CMYK is converted, profiles and gamma are not applied.
    `INTEGER_ACCURATE` is the JPEG standard's reference transform, which Pillow uses too; TensorFlow's faster default
    gives other pixels.

    Args:
        path: scalar string.
        orientation: scalar int32, the EXIF orientation by which the image is turned; None: as its pixels are stored.
        intensity: the range of 16-bit values that becomes 0 to 255; None: their high byte. It acts on PNGs of 16 bits a
            channel alone.

    Raises:
        tf.errors.InvalidArgumentError: the file is damaged or not an image. (GIFs are decoded; `open_image` refuses
            them.)
    """
    content = tf.io.read_file(path)
    image = tf.cond(
        tf.io.is_jpeg(content),
        lambda: tf.io.decode_jpeg(content, channels=3, dct_method="INTEGER_ACCURATE"),
        lambda: tf.io.decode_png(content, channels=3) if intensity is None else _decode_png(content, intensity),
    )
    if orientation is not None:
        image = turn_image(image, orientation)
    return tf.ensure_shape(image, (None, None, 3))


def _decode_png(content: tf.Tensor, intensity: tuple[float, float]) -> tf.Tensor:
    """(height, width, 3) uint8."""

    def scaled() -> tf.Tensor:
        values = tf.io.decode_png(content, channels=3, dtype=tf.uint16)
        return tf.gather(tf.constant(scaled_values(*intensity)), tf.cast(values, tf.int32))

    head = tf.strings.join([tf.strings.substr(content, 0, 25), bytes(25)])  # long enough, even of an empty file
    return tf.cond(tf.strings.substr(head, 24, 1) == b"\x10", scaled, lambda: tf.io.decode_png(content, channels=3))


def turn_image(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """The image as viewers display it; `pipeline.data.pixels.turn_array` does the same to arrays.

    Args:
        image: (height, width, 3).
        orientation: scalar int32, 1 to 8.
    """

    def among(orientations: tuple[int, ...]) -> tf.Tensor:
        return tf.reduce_any(orientation == tf.constant(orientations))

    image = tf.cond(among(TRANSPOSED), lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
    image = tf.cond(among(ROWS_REVERSED), lambda: image[::-1], lambda: image)
    return tf.cond(among(COLUMNS_REVERSED), lambda: image[:, ::-1], lambda: image)


def image_decoder(examples: Sequence[Example]) -> Callable[[tf.Tensor], tf.Tensor]:
    """A function for graphs, from the index of an example (a scalar) to its image, (height, width, 3) uint8."""
    paths = tf.constant([str(example.image) for example in examples])
    turns = [example.orientation for example in examples]
    orientations = tf.constant(turns, tf.int32) if any(turn != 1 for turn in turns) else None
    (intensity,) = {example.intensity for example in examples} or {None}

    def decode(index: tf.Tensor) -> tf.Tensor:
        return decode_image(paths[index], None if orientations is None else orientations[index], intensity)

    return decode


def decode_file(path: Path, orientation: int = 1, intensity: tuple[float, float] | None = None) -> np.ndarray:
    """`decode_image` outside of a graph, (height, width, 3) uint8.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return decode_image(
            os.fsencode(path), None if orientation == 1 else tf.constant(orientation), intensity
        ).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError("its data are damaged or end too early") from error


def decode_example(example: Example) -> np.ndarray:
    """The image of an example as training sees it, (height, width, 3) uint8.

    Raises:
        ValueError: the file is damaged.
    """
    return decode_file(example.image, example.orientation, example.intensity)


def decode_16_bits(path: Path) -> np.ndarray:
    """The values of a PNG of 16 bits a channel without alpha, (height, width, 3) uint16.

    Raises:
        ValueError: the file is damaged.
    """
    try:
        return tf.io.decode_png(tf.io.read_file(str(path)), channels=3, dtype=tf.uint16).numpy()
    except tf.errors.InvalidArgumentError as error:
        raise ValueError("its data are damaged or end too early") from error


def decode_mask(path: tf.Tensor) -> tf.Tensor:
    """The class indices of a palette or one-channel PNG, (height, width) uint8; 255 is void.

    TensorFlow's decoder turns the indices of a palette into colours, so it is given the file without the palette. That
    is twice as fast as Pillow and does not wait for Python's lock. Other kinds of PNG are left to Pillow.

    Args:
        path: scalar string.

    Raises:
        tf.errors.OpError, OSError, ValueError: the file is damaged or does not hold indices.
    """
    content = tf.io.read_file(path)
    head = tf.strings.join([tf.strings.substr(content, 0, 41), b"\x00" * 41])  # long enough, even of an empty file
    kind, next_chunk = tf.strings.substr(head, 24, 2), tf.strings.substr(head, 37, 4)  # kind: bits, colour type
    mask = tf.case(
        [
            (kind == b"\x08\x00", lambda: tf.io.decode_png(content, channels=1)[..., 0]),
            (
                (kind == b"\x08\x03") & (next_chunk == b"PLTE"),
                lambda: tf.io.decode_png(_without_palette(content), channels=1)[..., 0],
            ),
        ],
        # Fewer bits, or other chunks before the palette.
        lambda: tf.numpy_function(_decode_by_pillow, [path], tf.uint8, stateful=False),
    )
    return tf.ensure_shape(mask, (None, None))


def _decode_by_pillow(path: bytes | np.ndarray) -> np.ndarray:
    """(height, width) uint8.

    Args:
        path: `numpy_function` passes bytes within a graph, and an array of one string outside of one.
    """
    return read_index_mask(Path(tf.compat.as_str(np.asarray(path).item())))


def _without_palette(content: tf.Tensor) -> tf.Tensor:
    """The bytes of an 8-bit palette PNG, turned into a grey PNG whose grey values are the indices.

    The colour type is changed; palette and transparency are removed. PNG specification (ISO/IEC 15948), 5.3 and 11.2:
    the colour type is byte 25, and bytes 29 to 32 are the checksum of the header. A CRC is linear: the same change of
    the content always changes the checksum in the same way.
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
    """Height and width of images scaled to the long side, at least one pixel each; None: their own size.

    Args:
        size: (..., 2) int32.

    Returns:
        (..., 2) int32.
    """
    if long_side is None:
        return size
    exact = tf.cast(size, tf.float64) * (long_side / tf.cast(tf.reduce_max(size, -1, keepdims=True), tf.float64))
    return tf.maximum(tf.cast(tf.round(exact), tf.int32), 1)


def scale_image(image: tf.Tensor, long_side: int | None) -> tf.Tensor:
    """The image scaled to the long side, (height, width, 3) uint8: bilinearly, with anti-aliasing.

    Args:
        image: (height, width, 3) uint8.
    """
    if long_side is None:
        return image
    return resize_image(image, working_size(tf.shape(image)[:2], long_side))


def resize_image(images: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """Images at another size, uint8: bilinearly, with anti-aliasing.

    Args:
        images: (..., height, width, 3) uint8, with at most one axis before the height.
        size: (2,) int32, height and width of the result.
    """
    resized = tf.image.resize(images, size, antialias=True)
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def scale_mask(mask: tf.Tensor, long_side: int | None) -> tf.Tensor:
    """The mask of a scaled image, (height, width) uint8: by the nearest neighbour; for training, not for scores.

    Args:
        mask: (height, width) uint8.
    """
    if long_side is None:
        return mask
    size = working_size(tf.shape(mask), long_side)
    return tf.image.resize(mask[..., tf.newaxis], size, method="nearest")[..., 0]


def padded_length(length: int, multiple: int) -> int:
    """The length rounded up to a multiple."""
    return -(-length // multiple) * multiple


def pad_reflect(images: tf.Tensor, multiple: int) -> tf.Tensor:
    """Images padded at the right and bottom so that both sides are multiples, same dtype.

    The padding is the image's reflection, as numpy's mode "reflect": the edge pixel is not repeated, and an image that
    is smaller than its padding is reflected several times.

    Args:
        images: (..., height, width, channels).
    """
    for axis in (-3, -2):
        length = tf.shape(images)[axis]
        wanted = (length + multiple - 1) // multiple * multiple  # without negative numbers, see `pipeline.export.graph`
        period = tf.maximum(2 * length - 2, 1)
        position = tf.range(length, wanted) % period
        reflected = tf.gather(images, tf.minimum(position, period - position), axis=axis)
        images = tf.concat([images, reflected], axis)
    return images
