"""Random scale, crop, flip and colour as pure functions of (seed, epoch, example index).

Scale and crop are a window of whole pixels that is resized to the crop's side: the picture bilinearly, the mask by the
nearest neighbour, with grey and 255 where the window reaches beyond the picture.
"""

import math
from dataclasses import dataclass

import tensorflow as tf

from pipeline.config import AugmentConfig
from pipeline.data.palette import VOID

OUTSIDE = 124.0  # grey near the mean of photographs, where a crop reaches beyond its picture

# RGB to luma and the two colour differences of YIQ, in which a turn of the hue is a rotation.
TO_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


def random_numbers(seed: int, epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Eight numbers in [0, 1), float32, for one example in one epoch; Philox gives the same on any device.

    Args:
        seed: of 31 bits.
        epoch, index: integer scalars from 0; the epoch below 2**32.
    """
    key = tf.stack([seed + tf.cast(epoch, tf.int64) * 2**31, tf.cast(index, tf.int64)])  # another one for each triple
    return tf.random.stateless_uniform([8], key, alg="philox")


@dataclass(frozen=True)
class Window:
    """What of a picture becomes which part of its crop: (2,) int32 tensors over height and width, in whole pixels."""

    start: tf.Tensor  # the visible part of the picture
    extent: tf.Tensor
    place: tf.Tensor  # where that part begins in the crop
    size: tf.Tensor  # and how large it is there
    mirrored: tf.Tensor  # () bool


def crop_window(size: tf.Tensor, crop: int, config: AugmentConfig, numbers: tf.Tensor) -> Window:
    """Draw a square window of `crop / scale` pixels, rounded to whole ones, anywhere in the picture.

    A scale of 1 copies pixels. Where the window is larger than the picture, the picture lies anywhere inside of it.

    Args:
        size: (2,) int32 height and width of the picture.
        numbers: (8,) float32 in [0, 1); the first four are used.
    """
    low, high = (math.log(edge) for edge in config.scale)
    side = tf.maximum(tf.cast(tf.round(crop / tf.exp(low + numbers[0] * (high - low))), tf.int32), 1)
    room = size - side
    drawn = tf.floor(numbers[1:3] * tf.cast(tf.abs(room) + 1, tf.float32))
    begin = tf.cast(drawn, tf.int32) * tf.sign(room)  # from 0 to room
    start, end = tf.maximum(begin, 0), tf.minimum(begin + side, size)
    # The edges of the visible part in the crop, to the nearest pixel, and at least one pixel apart.
    first, last = ((2 * (edge - begin) * crop + side) // (2 * side) for edge in (start, end))
    first = tf.minimum(first, crop - 1)
    return Window(
        start,
        end - start,
        first,
        tf.maximum(last - first, 1),
        tf.logical_and(config.flip, numbers[3] < 0.5),
    )


def warp(image: tf.Tensor, mask: tf.Tensor, window: Window, crop: int) -> tuple[tf.Tensor, tf.Tensor]:
    """A crop from the visible part of its window.

    Args:
        image, mask: that part, (height, width, 3) and (height, width), both uint8.

    Returns:
        (crop, crop, 3) float32 from 0 to 255, not rounded, and (crop, crop) uint8.
    """
    mirrored, (top, left), (tall, wide) = window.mirrored, tf.unstack(window.place), tf.unstack(window.size)
    left = tf.where(mirrored, crop - left - wide, left)
    around = [[top, crop - top - tall], [left, crop - left - wide]]
    # A reversal is fast on bytes; the same by a stride of -1 takes ten times as long.
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    picture = tf.image.resize(tf.cast(image, tf.float32), window.size)
    picture = tf.pad(picture, [*around, [0, 0]], constant_values=OUTSIDE)
    rows, columns = (_nearest(*pair) for pair in zip(tf.unstack(window.extent), (tall, wide), strict=True))
    columns = tf.where(mirrored, window.extent[1] - 1 - columns, columns)
    labels = tf.gather(tf.gather(mask, rows), columns, axis=1)
    labels = tf.pad(labels, around, constant_values=tf.constant(VOID, tf.uint8))
    return tf.ensure_shape(picture, (crop, crop, 3)), tf.ensure_shape(labels, (crop, crop))


def _nearest(length: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Which of `length` pixels each of `wanted` equal parts has its centre in, (wanted,) int32, exactly."""
    return (2 * tf.range(wanted) + 1) * length // (2 * wanted)


def jitter_colours(images: tf.Tensor, numbers: tf.Tensor, config: AugmentConfig) -> tf.Tensor:
    """Change brightness, contrast, saturation and hue of each crop of a batch, and round.

    All four are linear in RGB, so each crop gets one 3x3 matrix and one offset.

    Args:
        images: (batch, height, width, 3) float32 from 0 to 255.
        numbers: (batch, 8) float32 in [0, 1); columns 4 to 7 are used.

    Returns:
        (batch, height, width, 3) uint8.
    """
    strengths = (config.brightness, config.contrast, config.saturation, config.hue)
    if not any(strengths):
        return _rounded(images)
    change = (2 * numbers[:, 4:] - 1) * tf.constant(strengths)  # (batch, 4)
    brightness, contrast, saturation = (1 + change[:, i, tf.newaxis, tf.newaxis] for i in range(3))
    turn = 2 * math.pi * change[:, 3]
    cosine, sine, zero, one = tf.cos(turn), tf.sin(turn), tf.zeros_like(turn), tf.ones_like(turn)
    rotation = tf.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], axis=1)
    to_yiq = tf.constant(TO_YIQ)
    hue = tf.linalg.inv(to_yiq) @ tf.reshape(rotation, (-1, 3, 3)) @ to_yiq  # (batch, 3, 3)
    grey = tf.ones((3, 1)) @ to_yiq[:1]  # every channel becomes the luma
    matrix = brightness * contrast * (saturation * tf.eye(3) + (1 - saturation) * grey) @ hue
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    rows = tf.reduce_mean(tf.reshape(images, (batch, height, width * 3)), axis=1)
    mean = tf.reduce_mean(tf.reshape(rows, (batch, width, 3)), axis=1) @ to_yiq[0][:, tf.newaxis]  # (batch, 1) luma
    changed = tf.reshape(images, (batch, height * width, 3)) @ tf.transpose(matrix, (0, 2, 1))
    offset = (brightness * (1 - contrast))[..., 0] * mean  # (batch, 1)
    changed = (
        tf.reshape(changed, (batch, -1)) + offset
    )  # along long rows: over three channels it takes four times as long
    return tf.reshape(_rounded(changed), tf.shape(images))


def _rounded(colours: tf.Tensor) -> tf.Tensor:
    """The nearest colours that a byte holds, halves up."""
    return tf.cast(tf.minimum(tf.nn.relu(colours) + 0.5, 255.5), tf.uint8)


def cut_and_mix(images: tf.Tensor, masks: tf.Tensor, numbers: tf.Tensor, share: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Paste a rectangle of the batch's next crop into a share of the crops (CutMix: Yun et al. 2019, section 3.1).

    Its sides are those of a uniformly drawn share of the area, its centre lies anywhere; what reaches out is cut off.

    Args:
        images, masks: (batch, crop, crop, 3) and (batch, crop, crop), both uint8.
        numbers: (batch, 4 or more) float32 in [0, 1).
    """
    crop = masks.shape[1]
    half = crop * tf.sqrt(numbers[:, 1:2]) / 2  # (batch, 1)
    pixel = tf.range(crop, dtype=tf.float32)[tf.newaxis] + 0.5  # (1, crop)
    rows, columns = (tf.abs(pixel - crop * numbers[:, axis : axis + 1]) < half for axis in (2, 3))  # (batch, crop)
    chosen = numbers[:, 0, tf.newaxis, tf.newaxis] < share
    pasted = chosen & rows[:, :, tf.newaxis] & columns[:, tf.newaxis]  # (batch, crop, crop)
    mixed = tf.where(pasted[..., tf.newaxis], tf.roll(images, -1, axis=0), images)
    return mixed, tf.where(pasted, tf.roll(masks, -1, axis=0), masks)
