"""Random scale, crop, flip and colour as pure functions of (seed, epoch, example index).

What happens to the crops of an epoch is drawn for all of them at once; then each crop is made.
Scale and crop are a window of whole pixels that is resized to the crop's side: the image bilinearly, the mask by the
nearest neighbour, with grey and 255 where the window reaches beyond the image.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from pipeline.config.schema import AugmentConfig
from pipeline.data.palette import VOID

OUTSIDE = 124.0  # grey near the mean of photographs, where a crop reaches beyond its image

# RGB to luma and the two colour differences of YIQ, in which a turn of the hue is a rotation.
TO_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


def random_numbers(seed: int, epoch: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Eight numbers in [0, 1) for each row, (rows, 8) float32, as a function of (seed, epoch, row).

    Philox counts: the numbers of a row do not depend on how many follow, and are the same on any device.

    Args:
        seed: of 31 bits.
        epoch: integer scalar from 0, below 2**32.
        rows: (rows,) integers from 0, such as the indices of examples.
    """
    key = tf.stack([seed + tf.cast(epoch, tf.int64) * 2**31, 0])
    return tf.gather(tf.random.stateless_uniform([tf.reduce_max(rows) + 1, 8], key, alg="philox"), rows)


class Window(NamedTuple):
    """What of images becomes which part of their crops: (..., 2) int32 over height and width, in whole pixels."""

    start: tf.Tensor  # the visible part of the image
    extent: tf.Tensor
    place: tf.Tensor  # where that part begins in the crop
    size: tf.Tensor  # and how large it is there
    mirrored: tf.Tensor  # (...) bool


def crop_windows(sizes: tf.Tensor, crop: int, config: AugmentConfig, numbers: tf.Tensor) -> Window:
    """Draw square windows of `crop / scale` pixels, rounded to whole ones, anywhere in the images.

    A scale of 1 copies pixels. Where a window is larger than its image, the image lies anywhere inside of it.

    Args:
        sizes: (crops, 2) int32 height and width of the images.
        numbers: (crops, 8) float32 in [0, 1); the first four columns are used.
    """
    low, high = (math.log(edge) for edge in config.scale)
    side = tf.maximum(tf.cast(tf.round(crop / tf.exp(low + numbers[:, :1] * (high - low))), tf.int32), 1)  # (crops, 1)
    room = sizes - side
    drawn = tf.floor(numbers[:, 1:3] * tf.cast(tf.abs(room) + 1, tf.float32))
    begin = tf.cast(drawn, tf.int32) * tf.sign(room)  # from 0 to room
    start, end = tf.maximum(begin, 0), tf.minimum(begin + side, sizes)
    # The edges of the visible part in the crop, to the nearest pixel, and at least one pixel apart.
    first, last = ((2 * (edge - begin) * crop + side) // (2 * side) for edge in (start, end))
    first = tf.minimum(first, crop - 1)
    return Window(
        start,
        end - start,
        first,
        tf.maximum(last - first, 1),
        tf.logical_and(config.flip, numbers[:, 3] < 0.5),
    )


def warp(image: tf.Tensor, mask: tf.Tensor, window: Window, crop: int) -> tuple[tf.Tensor, tf.Tensor]:
    """A crop from the visible part of its window.

    Args:
        image, mask: that part, (height, width, 3) and (height, width), both uint8.
        window: of this crop alone.

    Returns:
        (crop, crop, 3) float32 from 0 to 255, not rounded, and (crop, crop) uint8.
    """
    mirrored, (top, left), (tall, wide) = window.mirrored, tf.unstack(window.place), tf.unstack(window.size)
    left = tf.where(mirrored, crop - left - wide, left)
    around = [[top, crop - top - tall], [left, crop - left - wide]]
    # A reversal is fast on bytes; the same by a stride of -1 takes ten times as long.
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    resized = tf.image.resize(tf.cast(image, tf.float32), window.size)
    resized = tf.pad(resized, [*around, [0, 0]], constant_values=OUTSIDE)
    rows, columns = (_nearest(*pair) for pair in zip(tf.unstack(window.extent), (tall, wide), strict=True))
    columns = tf.where(mirrored, window.extent[1] - 1 - columns, columns)
    # Whole rows twice: to gather along the second axis, byte after byte, takes twice as long.
    labels = tf.transpose(tf.gather(tf.transpose(tf.gather(mask, rows)), columns))
    labels = tf.pad(labels, around, constant_values=tf.constant(VOID, tf.uint8))
    return tf.ensure_shape(resized, (crop, crop, 3)), tf.ensure_shape(labels, (crop, crop))


def _nearest(length: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Which of `length` pixels each of `wanted` equal parts has its centre in, (wanted,) int32, exactly."""
    return (2 * tf.range(wanted) + 1) * length // (2 * wanted)


class ColourChange(NamedTuple):
    """New colours are `matrix` of the old ones and `lift` of the crop's mean luma."""

    matrix: tf.Tensor  # (..., 3, 3) float32, of colours as rows
    lift: tf.Tensor  # (...) float32


def colour_changes(config: AugmentConfig, numbers: tf.Tensor) -> ColourChange | None:
    """Draw changes of brightness, contrast, saturation and hue; all four are linear in RGB. None: no colours change.

    Args:
        numbers: (crops, 8) float32 in [0, 1); columns 4 to 7 are used.
    """
    strengths = (config.brightness, config.contrast, config.saturation, config.hue)
    if not any(strengths):
        return None
    change = (2 * numbers[:, 4:] - 1) * tf.constant(strengths)  # (crops, 4)
    brightness, contrast, saturation = (1 + change[:, i, tf.newaxis, tf.newaxis] for i in range(3))
    turn = 2 * math.pi * change[:, 3]
    cosine, sine, zero, one = tf.cos(turn), tf.sin(turn), tf.zeros_like(turn), tf.ones_like(turn)
    rotation = tf.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], axis=1)
    to_yiq = tf.constant(TO_YIQ)
    hue = tf.linalg.inv(to_yiq) @ tf.reshape(rotation, (-1, 3, 3)) @ to_yiq  # (crops, 3, 3)
    grey = tf.ones((3, 1)) @ to_yiq[:1]  # every channel becomes the luma
    matrix = brightness * contrast * (saturation * tf.eye(3) + (1 - saturation) * grey) @ hue
    return ColourChange(tf.transpose(matrix, (0, 2, 1)), (brightness * (1 - contrast))[:, 0, 0])


def change_colours(image: tf.Tensor, change: ColourChange | None) -> tf.Tensor:
    """A crop with its new colours, rounded to bytes, halves up.

    Args:
        image: (height, width, 3) float32 from 0 to 255.

    Returns:
        (height, width, 3) uint8.
    """
    colours = tf.reshape(image, (-1, 3))
    if change is not None:
        # A mean over rows first: it adds up along contiguous memory.
        mean = tf.reduce_mean(tf.reduce_mean(image, axis=0), axis=0)  # (3,)
        luma = tf.tensordot(mean, tf.constant(TO_YIQ[0]), 1)
        colours = colours @ change.matrix + change.lift * luma
    # One operation rounds and clips, where those of their own would go through memory three times more.
    rounded = tf.raw_ops.QuantizeV2(
        input=colours, min_range=0.0, max_range=255.0, T=tf.quint8, mode="SCALED", round_mode="HALF_AWAY_FROM_ZERO"
    ).output
    return tf.reshape(tf.bitcast(rounded, tf.uint8), tf.shape(image))


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
