"""Random scale, crop, flip and colour as pure functions of (seed, epoch, example index).

The random numbers of an epoch are drawn for all its crops at once; then each crop is made (`pipeline.data.crop_plan`).
Scale and crop are one window of whole pixels that is resized to the side of the crop: the image bilinearly, the mask by
the nearest neighbour. Where the window reaches beyond the image, the crop is grey and its mask 255.
"""

import math
from typing import NamedTuple

import tensorflow as tf

from pipeline.config.schema import AugmentConfig
from pipeline.data.palette import VOID

OUTSIDE = 124.0  # grey near the mean of natural images, where a crop reaches beyond its image

# RGB to YIQ: luma (ITU-R BT.601) and two colour differences, in which a change of hue is a rotation.
TO_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


def random_numbers(seed: int, epoch: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Eight numbers in [0, 1) for each row, (rows, 8) float32, as a function of (seed, epoch, row).

    Philox is a counter-based generator (Salmon et al. 2011): the numbers of a row do not depend on how many rows
    follow, and are the same on any device.

    Args:
        seed: a non-negative integer of 31 bits.
        epoch: integer scalar from 0, below 2**32.
        rows: (rows,) integers from 0, such as the indices of examples.
    """
    key = tf.stack([_epoch_key(seed, epoch), 0])
    return tf.gather(tf.random.stateless_uniform([tf.reduce_max(rows) + 1, 8], key, alg="philox"), rows)


def row_keys(seed: int, epoch: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """A key for further random numbers of each row, (rows, 2) int64, which are others than those of `random_numbers`.

    Args:
        seed, epoch, rows: as in `random_numbers`.
    """
    return tf.stack([tf.fill(tf.shape(rows), _epoch_key(seed, epoch)), 1 + tf.cast(rows, tf.int64)], axis=1)


def _epoch_key(seed: int, epoch: tf.Tensor) -> tf.Tensor:
    return seed + tf.cast(epoch, tf.int64) * 2**31


class Window(NamedTuple):
    """Which part of an image becomes which part of its crop: (..., 2) int32 over height and width, in whole pixels."""

    start: tf.Tensor  # where the visible part begins in the image
    extent: tf.Tensor  # how large it is there
    place: tf.Tensor  # where it begins in the crop
    size: tf.Tensor  # how large it is there
    mirrored: tf.Tensor  # (...) bool, left and right exchanged


def crop_windows(sizes: tf.Tensor, crop: int, config: AugmentConfig, numbers: tf.Tensor) -> Window:
    """The visible parts of the windows of `drawn_windows`: (crops, 2) int32 tensors and (crops,) bool.

    Args:
        sizes, crop, config, numbers: as in `drawn_windows`.
    """
    side, begin, mirrored = drawn_windows(sizes, crop, config, numbers)
    start, end = tf.maximum(begin, 0), tf.minimum(begin + side, sizes)
    # The edges of the visible part in the crop, rounded to whole pixels, at least one pixel apart.
    first, last = ((2 * (edge - begin) * crop + side) // (2 * side) for edge in (start, end))
    first = tf.minimum(first, crop - 1)
    return Window(
        start,
        end - start,
        first,
        tf.maximum(last - first, 1),
        mirrored,
    )


def drawn_windows(
    sizes: tf.Tensor, crop: int, config: AugmentConfig, numbers: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draw square windows with sides of `crop / scale` pixels, rounded to whole pixels, anywhere in the images.

    The scale is log-uniform between the two values of config.scale; a scale of 1 copies pixels. Where a window is
    larger than its image, the image lies anywhere within the window.

    Args:
        sizes: (crops, 2) int32 height and width of the images.
        crop: side of the crops in pixels.
        numbers: (crops, 8) float32 in [0, 1); columns 0 to 3 are used.

    Returns:
        (crops, 1) int32 sides; (crops, 2) int32, where the windows begin in their images, negative where they begin
        before them; (crops,) bool, whether left and right are exchanged.
    """
    low, high = (math.log(edge) for edge in config.scale)
    side = tf.maximum(tf.cast(tf.round(crop / tf.exp(low + numbers[:, :1] * (high - low))), tf.int32), 1)  # (crops, 1)
    room = sizes - side  # (crops, 2), negative where the window is larger
    drawn = tf.floor(numbers[:, 1:3] * tf.cast(tf.abs(room) + 1, tf.float32))
    begin = tf.cast(drawn, tf.int32) * tf.sign(room)  # from 0 to room
    return side, begin, tf.logical_and(config.flip, numbers[:, 3] < 0.5)


def warp(image: tf.Tensor, mask: tf.Tensor, window: Window, crop: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Make one crop from the visible part of its image and mask.

    Args:
        image: (height, width, 3) uint8, the visible part alone.
        mask: (height, width) uint8, the same part.
        window: of this crop, so without the axis of crops.
        crop: side of the crop in pixels.

    Returns:
        (crop, crop, 3) float32 from 0 to 255, not rounded, and (crop, crop) uint8.
    """
    mirrored, (top, left), (tall, wide) = window.mirrored, tf.unstack(window.place), tf.unstack(window.size)
    left = tf.where(mirrored, crop - left - wide, left)
    around = [[top, crop - top - tall], [left, crop - left - wide]]
    # tf.reverse is fast on bytes; slicing with a stride of -1 takes ten times as long.
    image = tf.cond(mirrored, lambda: tf.reverse(image, [1]), lambda: image)
    resized = tf.image.resize(tf.cast(image, tf.float32), window.size)
    resized = tf.pad(resized, [*around, [0, 0]], constant_values=OUTSIDE)
    rows, columns = (_nearest(*pair) for pair in zip(tf.unstack(window.extent), (tall, wide), strict=True))
    columns = tf.where(mirrored, window.extent[1] - 1 - columns, columns)
    # Two gathers of whole rows and two transpositions: gathering single bytes along axis 1 takes twice as long.
    labels = tf.transpose(tf.gather(tf.transpose(tf.gather(mask, rows)), columns))
    labels = tf.pad(labels, around, constant_values=tf.constant(VOID, tf.uint8))
    return tf.ensure_shape(resized, (crop, crop, 3)), tf.ensure_shape(labels, (crop, crop))


def _nearest(length: tf.Tensor, wanted: tf.Tensor) -> tf.Tensor:
    """Nearest neighbours along one axis, (wanted,) int32: the pixel of `length` in which the centre of each part lies.

    The axis is cut into `wanted` equal parts; in integers, so without rounding errors.
    """
    return (2 * tf.range(wanted) + 1) * length // (2 * wanted)


class Orientation(NamedTuple):
    """Which of the eight ways a square can lie; rows and columns are exchanged first."""

    transposed: tf.Tensor  # (...) bool, rows and columns exchanged
    reversed: tf.Tensor  # (..., 2) bool, along height and width


def orientations(config: AugmentConfig, geometry: tf.Tensor) -> Orientation | None:
    """Draw vertical flips, each with probability 1/2, and quarter turns: none to three, equally likely.

    Args:
        geometry: (crops, 8) float32 in [0, 1); columns 4 and 5 are used.

    Returns:
        An orientation for each crop. None if config has neither.
    """
    if not (config.flip_vertical or config.quarter_turns):
        return None
    turns = tf.cast(4 * geometry[:, 5], tf.int32) if config.quarter_turns else tf.zeros_like(geometry[:, 5], tf.int32)
    upside_down = tf.logical_and(config.flip_vertical, geometry[:, 4] < 0.5)
    up, across = (turns == 1) | (turns == 2), (turns == 2) | (turns == 3)
    return Orientation(turns % 2 == 1, tf.stack([tf.math.logical_xor(up, upside_down), across], axis=1))


def orient(values: tf.Tensor, orientation: Orientation | None) -> tf.Tensor:
    """A crop or its mask, (crop, crop, …), turned; the same values in other places.

    Args:
        orientation: of this crop, so without the axis of crops; None: it stays as it is.
    """
    if orientation is None:
        return values
    others = list(range(2, len(values.shape)))
    exchanged = tf.cond(orientation.transposed, lambda: tf.transpose(values, [1, 0, *others]), lambda: values)
    # Unlike `tf.reverse`, it takes the axes as a tensor.
    return tf.raw_ops.Reverse(tensor=exchanged, dims=tf.pad(orientation.reversed, [[0, len(others)]]))


class ColourChange(NamedTuple):
    """New colours are old colours @ matrix + lift * mean luma of the crop."""

    matrix: tf.Tensor  # (..., 3, 3) float32, multiplied from the right to colours as rows
    lift: tf.Tensor  # (...) float32


def colour_changes(config: AugmentConfig, numbers: tf.Tensor) -> ColourChange | None:
    """Draw changes of brightness, contrast, saturation and hue, all four of which are linear in RGB.

    Hue is turned first, as a rotation of the colour plane of YIQ by up to config.hue of a circle either way. Then
    saturation, contrast and brightness are multiplied by factors within 1 ± config.saturation and so on: saturation
    blends with the pixel's luma, contrast with the mean luma of the crop, brightness with black.

    Args:
        numbers: (crops, 8) float32 in [0, 1); columns 4 to 7 are used.

    Returns:
        A change for each crop: (crops, 3, 3) and (crops,). None if config changes no colours.
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
    grey = tf.ones((3, 1)) @ to_yiq[:1]  # (3, 3): every channel becomes the luma
    matrix = brightness * contrast * (saturation * tf.eye(3) + (1 - saturation) * grey) @ hue
    return ColourChange(tf.transpose(matrix, (0, 2, 1)), (brightness * (1 - contrast))[:, 0, 0])


def change_colours(image: tf.Tensor, change: ColourChange | None, noise: tf.Tensor | None = None) -> tf.Tensor:
    """A crop with its new colours, clipped to 0..255 and rounded to the nearest integer, halves up.

    Args:
        image: (height, width, 3) float32 from 0 to 255.
        change: of this crop, so without the axis of crops; None: colours are only rounded.
        noise: (height, width, 3) float32, added to the new colours.

    Returns:
        (height, width, 3) uint8.
    """
    colours = tf.reshape(image, (-1, 3))
    if change is not None:
        # Over rows first, which adds along contiguous memory.
        mean = tf.reduce_mean(tf.reduce_mean(image, axis=0), axis=0)  # (3,)
        luma = tf.tensordot(mean, tf.constant(TO_YIQ[0]), 1)
        colours = colours @ change.matrix + change.lift * luma
    if noise is not None:
        colours += tf.reshape(noise, (-1, 3))
    # One operation clips, rounds and converts; separate ones would go through memory three times more.
    rounded = tf.raw_ops.QuantizeV2(
        input=colours, min_range=0.0, max_range=255.0, T=tf.quint8, mode="SCALED", round_mode="HALF_AWAY_FROM_ZERO"
    ).output
    return tf.reshape(tf.bitcast(rounded, tf.uint8), tf.shape(image))


def cut_and_mix(images: tf.Tensor, masks: tf.Tensor, numbers: tf.Tensor, share: float) -> tuple[tf.Tensor, tf.Tensor]:
    """Paste a rectangle of the batch's next crop into a share of the crops (CutMix: Yun et al. 2019, section 3.1).

    The rectangle is a square whose share of the crop's area is drawn uniformly and whose centre lies anywhere in the
    crop; what reaches beyond the crop is cut off.

    Args:
        images: (batch, crop, crop, 3) uint8.
        masks: (batch, crop, crop) uint8.
        numbers: (batch, 4 or more) float32 in [0, 1): whether, area, row and column of the centre.
        share: of the crops that are changed, from 0 to 1.

    Returns:
        Images and masks of the same shapes and dtypes.
    """
    crop = masks.shape[1]
    half = crop * tf.sqrt(numbers[:, 1:2]) / 2  # (batch, 1)
    pixel = tf.range(crop, dtype=tf.float32)[tf.newaxis] + 0.5  # (1, crop)
    rows, columns = (tf.abs(pixel - crop * numbers[:, axis : axis + 1]) < half for axis in (2, 3))  # (batch, crop)
    chosen = numbers[:, 0, tf.newaxis, tf.newaxis] < share
    pasted = chosen & rows[:, :, tf.newaxis] & columns[:, tf.newaxis]  # (batch, crop, crop)
    mixed = tf.where(pasted[..., tf.newaxis], tf.roll(images, -1, axis=0), images)
    return mixed, tf.where(pasted, tf.roll(masks, -1, axis=0), masks)
