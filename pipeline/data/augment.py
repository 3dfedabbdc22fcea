"""Random scale, crop, flip and colour as pure functions of (seed, epoch, example index).

Scale, crop and flip are one box for `tf.image.crop_and_resize`, sampled once from the picture (bilinear) and once from
the mask (nearest neighbour, 255 outside).
"""

import math

import tensorflow as tf

from pipeline.config import AugmentConfig
from pipeline.data.palette import VOID

# Pixels: more than float32 rounds away, too little to change an 8-bit colour where pixels are copied.
EDGE_MARGIN = 2**-11
OUTSIDE = 124.0  # grey near the mean of photographs, where a crop reaches beyond its picture

# RGB to luma and the two colour differences of YIQ, in which a turn of the hue is a rotation.
TO_YIQ = ((0.299, 0.587, 0.114), (0.595716, -0.274453, -0.321263), (0.211456, -0.522591, 0.311135))


def random_numbers(seed: int, epoch: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Eight numbers in [0, 1), float32, for one example in one epoch; Philox gives the same on any device."""
    key = tf.constant([seed, 0], tf.int64)
    for part in (epoch, index):
        key = tf.random.fold_in(key, tf.cast(part, tf.int64))  # int32 would give other numbers
    return tf.random.stateless_uniform([8], key, alg="philox")


def crop_box(size: tf.Tensor, crop: int, config: AugmentConfig, numbers: tf.Tensor) -> tf.Tensor:
    """The crop as a normalised box (top, left, bottom, right), (4,) float32, for `crop_and_resize`.

    The window is `crop / scale` pixels wide and starts at a whole pixel, so that a scale of 1 copies pixels. Where the
    window is larger than the picture, the picture lies anywhere inside of it. A flip exchanges left and right. A side
    of a single pixel fills the whole crop: `crop_and_resize` knows no other place in it.

    Args:
        size: (2,) int32 height and width of the picture.
        numbers: (8,) float32 in [0, 1).
    """
    low, high = (math.log(edge) for edge in config.scale)
    window = crop / tf.exp(low + numbers[0] * (high - low))
    extent = tf.cast(size, tf.float32)  # (2,)
    room = extent - window
    start = tf.floor(numbers[1:3] * (tf.floor(tf.abs(room)) + 1)) * tf.sign(room)  # a whole pixel from 0 to room
    # Centres of the first and the last sample; crop_and_resize counts in units of (size - 1).
    first, last = start + 0.5 * window / crop - 0.5, start + (crop - 0.5) * window / crop - 0.5
    # Enlarged windows sample up to half a pixel beyond the edge: that is still the edge, not the outside.
    inside = room >= 0
    first, last = tf.where(inside, tf.maximum(first, 0.0), first), tf.where(inside, tf.minimum(last, extent - 1), last)
    # A sample on the very edge could be rounded beyond it, to the outside: all move towards the picture's middle.
    middle, unit = (extent - 1) / 2, tf.maximum(extent - 1, 1.0)
    first, last = (edge + (middle - edge) * 2 * EDGE_MARGIN / unit for edge in (first, last))
    (top, left), (bottom, right) = tf.unstack(first / unit), tf.unstack(last / unit)
    mirrored = tf.logical_and(config.flip, numbers[3] < 0.5)
    return tf.stack([top, tf.where(mirrored, right, left), bottom, tf.where(mirrored, left, right)])


def warp(image: tf.Tensor, mask: tf.Tensor, box: tf.Tensor, crop: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Sample a box of image (height, width, 3) and mask (height, width), both uint8, with `crop` pixels a side."""
    boxes, which, size = box[tf.newaxis], tf.zeros([1], tf.int32), (crop, crop)
    picture = tf.image.crop_and_resize(image[tf.newaxis], boxes, which, size, "bilinear", OUTSIDE)[0]
    labels = mask[tf.newaxis, ..., tf.newaxis]
    labels = tf.image.crop_and_resize(labels, boxes, which, size, "nearest", float(VOID))[0, ..., 0]
    return tf.cast(tf.round(picture), tf.uint8), tf.cast(labels, tf.uint8)


def jitter_colours(images: tf.Tensor, numbers: tf.Tensor, config: AugmentConfig) -> tf.Tensor:
    """Change brightness, contrast, saturation and hue of each crop of a batch.

    All four are linear in RGB, so each crop gets one 3x3 matrix and one offset.

    Args:
        images: (batch, height, width, 3) uint8.
        numbers: (batch, 8) float32 in [0, 1); columns 4 to 7 are used.

    Returns:
        (batch, height, width, 3) uint8.
    """
    strengths = (config.brightness, config.contrast, config.saturation, config.hue)
    if not any(strengths):
        return images
    change = (2 * numbers[:, 4:] - 1) * tf.constant(strengths)  # (batch, 4)
    brightness, contrast, saturation = (1 + change[:, i, tf.newaxis, tf.newaxis] for i in range(3))
    turn = 2 * math.pi * change[:, 3]
    cosine, sine, zero, one = tf.cos(turn), tf.sin(turn), tf.zeros_like(turn), tf.ones_like(turn)
    rotation = tf.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], axis=1)
    to_yiq = tf.constant(TO_YIQ)
    hue = tf.linalg.inv(to_yiq) @ tf.reshape(rotation, (-1, 3, 3)) @ to_yiq  # (batch, 3, 3)
    grey = tf.ones((3, 1)) @ to_yiq[:1]  # every channel becomes the luma
    matrix = contrast * (saturation * tf.eye(3) + (1 - saturation) * grey) @ hue
    pixels = tf.cast(images, tf.float32)
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    mean = tf.reduce_mean(pixels @ to_yiq[0][:, tf.newaxis], axis=(1, 2), keepdims=True)  # (batch, 1, 1, 1) luma
    flat = tf.reshape(pixels, (batch, height * width, 3)) @ tf.transpose(matrix, (0, 2, 1))
    changed = brightness[..., tf.newaxis] * (
        tf.reshape(flat, (batch, height, width, 3)) + (1 - contrast[..., tf.newaxis]) * mean
    )
    return tf.cast(tf.clip_by_value(tf.round(changed), 0, 255), tf.uint8)


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
