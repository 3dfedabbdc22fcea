"""Rotation, shear and elastic deformation of a crop, in one resampling together with its scale, place and mirroring.

Every pixel of the crop is looked up in the image: the colour between four pixels, the label of the pixel that it lies
in. It takes longer than `pipeline.data.augment.warp`, which scales and places alone.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from pipeline.config.schema import AugmentConfig
from pipeline.data.augment import OUTSIDE, drawn_windows
from pipeline.data.palette import VOID

# Of the elastic field along each side. A displacement that grows by at most 2 * elastic * CELLS pixels in a pixel, in
# either direction, folds nothing below 1 / (4 * CELLS): hence the bound of `augment.elastic`.
CELLS = 4
OUTSIDE_FIELDS = np.uint64(int(OUTSIDE) * 256 * (1 + 2**16 + 2**32))


class Deformation(NamedTuple):
    """Where in its image each pixel of a crop lies, in pixels of a rectangle of the image; (row, column) each."""

    start: tf.Tensor  # (..., 2) int32, where the rectangle that is needed begins in the image
    extent: tf.Tensor  # (..., 2) int32, how large it is
    pivot: tf.Tensor  # (..., 2) float32, a point of the crop …
    centre: tf.Tensor  # (..., 2) float32, … and the point of the rectangle that lies there
    matrix: tf.Tensor  # (..., 2, 2) float32, from pixels of the crop, counted from the pivot, to those of the image
    elastic: tf.Tensor  # (...) float32, greatest displacement along each axis, in pixels of the crop
    key: tf.Tensor  # (..., 2) int64, of the random numbers of the elastic field


def deforms(config: AugmentConfig) -> bool:
    """Whether the configuration needs more than scale, place and mirroring."""
    return bool(config.rotate or config.shear or config.elastic)


def deformations(
    sizes: tf.Tensor, crop: int, config: AugmentConfig, numbers: tf.Tensor, geometry: tf.Tensor, keys: tf.Tensor
) -> Deformation:
    """Draw windows as `pipeline.data.augment.crop_windows` does, turned and sheared about the centre of what they see.

    The angle is uniform within ± config.rotate degrees. Columns or rows, each in half of the crops, lean by an angle
    that is uniform within ± config.shear degrees; areas stay the same. The elastic displacement is a cubic B-spline
    over a grid of random vectors (the idea: Simard et al. 2003, Ronneberger et al. 2015), whose greatest component
    is uniform up to config.elastic of the crop's side.

    Args:
        sizes: (crops, 2) int32 height and width of the images.
        crop: side of the crops in pixels.
        numbers: (crops, 8) float32 in [0, 1), those of `crop_windows`.
        geometry: (crops, 8) float32 in [0, 1); columns 0 to 3 are used.
        keys: (crops, 2) int64, another for each crop.

    Returns:
        A deformation for each crop.
    """
    side, begin, mirrored = drawn_windows(sizes, crop, config, numbers)
    scale = tf.cast(side, tf.float32) / crop  # (crops, 1)
    # The middle of the visible part, so that an image smaller than its window does not leave the crop.
    centre = tf.cast(tf.maximum(begin, 0) + tf.minimum(begin + side, sizes), tf.float32) / 2  # (crops, 2)
    pivot = (centre - tf.cast(begin, tf.float32)) / scale
    pivot = tf.stack([pivot[:, 0], tf.where(mirrored, crop - pivot[:, 1], pivot[:, 1])], axis=1)
    angle, lean = (
        math.radians(most) * (2 * geometry[:, i] - 1) for i, most in enumerate((config.rotate, config.shear))
    )
    cosine, sine, across = tf.cos(angle), tf.sin(angle), tf.where(mirrored, -1.0, 1.0)
    columns = geometry[:, 2] < 0.5
    by_row, by_column = tf.where(columns, 0.0, tf.tan(lean)), tf.where(columns, tf.tan(lean), 0.0)
    rotation = tf.reshape(tf.stack([cosine, -sine, sine, cosine], axis=1), (-1, 2, 2))
    shear = tf.reshape(tf.stack([tf.ones_like(lean), across * by_row, by_column, across], axis=1), (-1, 2, 2))
    matrix = scale[..., tf.newaxis] * (rotation @ shear)
    elastic = crop * config.elastic * geometry[:, 3]
    # The smallest rectangle with all pixels of the crop and their neighbours.
    middle = centre + tf.linalg.matvec(matrix, crop / 2 - pivot)
    reach = tf.reduce_sum(tf.abs(matrix), axis=2) * (crop / 2 + elastic[:, tf.newaxis]) + 2
    start = tf.clip_by_value(tf.cast(tf.floor(middle - reach), tf.int32), 0, sizes)
    end = tf.clip_by_value(tf.cast(tf.math.ceil(middle + reach), tf.int32), 0, sizes)
    return Deformation(start, end - start, pivot, centre - tf.cast(start, tf.float32), matrix, elastic, keys)


def deform(
    image: tf.Tensor, mask: tf.Tensor, deformation: Deformation, crop: int, elastic: bool
) -> tuple[tf.Tensor, tf.Tensor]:
    """Make one crop from the rectangle of its image and mask. What lies outside is grey and 255.

    Args:
        image: (height, width, 3) uint8, the rectangle alone.
        mask: (height, width) uint8, the same rectangle.
        deformation: of this crop, so without the axis of crops.
        crop: side of the crop in pixels.
        elastic: whether there is an elastic displacement; without, its numbers are not drawn.

    Returns:
        (crop, crop, 3) float32 from 0 to 255, not rounded, and (crop, crop) uint8.
    """
    inputs = [image, mask, deformation.pivot, deformation.centre, deformation.matrix]
    if elastic:
        inputs.append(_elastic_field(deformation, crop))
    resample = functools.partial(_resample, crop)
    colours, labels = tf.numpy_function(resample, inputs, (tf.float32, tf.uint8), stateful=False)
    return tf.ensure_shape(colours, (crop, crop, 3)), tf.ensure_shape(labels, (crop, crop))


def _elastic_field(deformation: Deformation, crop: int) -> tf.Tensor:
    """By how much each pixel's place is moved in the crop, (2, crop, crop) float32."""
    vectors = tf.random.stateless_uniform([2, CELLS + 3, CELLS + 3], deformation.key, -1.0, 1.0, alg="philox")
    basis = tf.constant(spline_basis(crop))
    return deformation.elastic * (basis @ vectors @ tf.transpose(basis))


def _resample(
    crop: int,
    image: np.ndarray,
    mask: np.ndarray,
    pivot: np.ndarray,
    centre: np.ndarray,
    matrix: np.ndarray,
    field: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Look up every pixel of the crop. In numpy, which takes about half the time of TensorFlow's gathers.

    The three colours of a pixel are fields of 16 bits in one integer, and weights are multiples of 1/256, so that one
    product weighs all three: 255 * 256 fits into a field.
    """
    height, width = mask.shape
    centres = np.arange(crop, dtype=np.float32) + np.float32(0.5)
    down, across = (centres - pivot[0])[:, np.newaxis], centres - pivot[1]
    if field is not None:
        down, across = down + field[0], across + field[1]
    # Places in the rectangle, (crop, crop) float32; its first pixel is from 0 to 1.
    row, column = (centre[axis] + matrix[axis, 0] * down + matrix[axis, 1] * across for axis in (0, 1))
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    nearest = row.astype(np.int32) * width + column.astype(np.int32)
    labels = np.where(inside, mask.ravel().take(nearest, mode="clip"), np.uint8(VOID))
    # Between the centres of four pixels; at the edge of the image, of two or one. In units of 1/256.
    fine_row, fine_column = (
        (np.clip(place - np.float32(0.5), 0, side - 1) * np.float32(256) + np.float32(0.5)).astype(np.int32)
        for place, side in ((row, height), (column, width))
    )
    top, left, lower, right = fine_row >> 8, fine_column >> 8, fine_row & 255, fine_column & 255
    above, below = top * width, np.minimum(top + 1, height - 1) * width
    after, corner = np.minimum(left + 1, width - 1), (lower * right + 128) >> 8
    fields, colours = np.zeros((height, width, 4), np.uint16), np.empty((crop, crop, 3), np.float32)
    for channel in range(3):  # one by one, as numpy is slow over a last axis of three
        fields[..., channel] = image[..., channel]
    pixels = fields.view(np.uint64).ravel()
    total = (256 - lower - right + corner).astype(np.uint64) * pixels.take(above + left, mode="clip")
    total += (right - corner).astype(np.uint64) * pixels.take(above + after, mode="clip")
    total += (lower - corner).astype(np.uint64) * pixels.take(below + left, mode="clip")
    total += corner.astype(np.uint64) * pixels.take(below + after, mode="clip")
    weighed = np.where(inside, total, OUTSIDE_FIELDS).view(np.uint16).reshape(crop, crop, 4)
    for channel in range(3):
        np.multiply(weighed[..., channel], np.float32(1 / 256), out=colours[..., channel])
    return colours, labels


def spline_basis(crop: int) -> np.ndarray:
    """How much each control point counts at the centre of each pixel, (crop, CELLS + 3) float32; rows sum to 1.

    The uniform cubic B-spline (de Boor 1978, chapter IX), whose values lie between those of its control points.
    """
    place = (np.arange(crop) + 0.5) * CELLS / crop
    cell = np.floor(place).astype(int)
    t = place - cell
    parts = np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], axis=1) / 6
    basis = np.zeros((crop, CELLS + 3))
    np.put_along_axis(basis, cell[:, np.newaxis] + np.arange(4), parts, axis=1)
    return basis.astype(np.float32)
