"""The way from images to class indices in operations that ONNX and LiteRT have, in float32 and with constant weights.

It is `pipeline.model.inference` for a batch of images of one size, with three things replaced:

- Neither format has TensorFlow's resize with anti-aliasing: two products with matrices do the same up to rounding.
- LiteRT has no float64, so sizes are computed with whole numbers (`whole_working_size`). Both round quotients of
  negative numbers in their own way, so there are none, in the shared functions either.
- Weights are constants, since a variable that a loop reads would become an argument of the loop.
"""

from collections.abc import Callable

import keras
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.data import decode
from pipeline.model.build import build_network
from pipeline.model.inference import class_indices
from pipeline.model.tta import Views
from pipeline.runtime.keras_settings import keras_set

INPUT = "images"  # (batch, height, width, 3) uint8
CLASSES, PROBABILITIES = "classes", "probabilities"  # (batch, height, width) uint8; (…, classes) float32

Graph = Callable[[tf.Tensor], dict[str, tf.Tensor]]


def in_float32(network: keras.Model, config: Config) -> keras.Model:
    """A network with the same weights that computes in float32, whatever the run's precision."""
    with keras_set("float32"):
        copy = build_network(config)
        copy.set_weights(network.get_weights())
    return copy


def portable_graph(network: keras.Model, config: Config, probabilities: bool) -> Graph:
    """A function for graphs, from images to class indices or probabilities, under the name of the output.

    Args:
        network: of `in_float32`.
        config: how images are scaled and viewed.
        probabilities: whether the result is the probability of each class instead of class indices.
    """
    views = Views.of(config)
    trainable = [variable.numpy() for variable in network.trainable_variables]
    fixed = [variable.numpy() for variable in network.non_trainable_variables]

    def constant_network(images: tf.Tensor) -> tf.Tensor:
        # Made here, so that they are constants of the loop, if the network is called in one.
        constants = [[tf.constant(values) for values in part] for part in (trainable, fixed)]
        return network.stateless_call(*constants, images, training=False)[0]

    def graph(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return output(_logits(constant_network, images, config.long_side, views), probabilities)

    return graph


def output(logits: tf.Tensor, probabilities: bool) -> dict[str, tf.Tensor]:
    """What a file returns for logits (batch, height, width, classes): their softmax, or class indices."""
    return {PROBABILITIES: tf.nn.softmax(logits)} if probabilities else {CLASSES: class_indices(logits)}


def _logits(
    network: Callable[[tf.Tensor], tf.Tensor], images: tf.Tensor, long_side: int | None, views: Views
) -> tf.Tensor:
    """Logits (batch, height, width, classes) float32 of images (batch, height, width, 3) uint8."""
    size = tf.shape(images)[1:3]
    scaled = images if long_side is None else resize_by_matrices(images, whole_working_size(size, long_side))
    if not views.single:
        return views.averaged(network, scaled, size, resize_by_matrices)
    height, width = tf.unstack(tf.shape(scaled)[1:3])
    logits = views.logits(network, decode.pad_reflect(scaled, views.multiple))[:, :height, :width]
    return logits if long_side is None else tf.image.resize(logits, size)


def whole_working_size(size: tf.Tensor, long_side: int) -> tf.Tensor:
    """Height and width of an image scaled to the long side, at least one pixel each, (2,) int32.

    Rounded to the nearest whole number, halves to the even one. `pipeline.data.decode.working_size` does so in float64,
    whose own rounding decides about some of the halves, so a few sizes differ by a pixel (docs/deployment.md).

    Args:
        size: (2,) int32; its greater number times `long_side` is below 2**30.
    """
    longest = tf.reduce_max(size)
    twice = 2 * longest
    half_up = size * (2 * long_side) + longest
    rounded = half_up // twice
    odd_half = tf.cast(half_up % twice == 0, tf.int32) * (rounded % 2)
    return tf.maximum(rounded - odd_half, 1)


def resize_by_matrices(images: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    """`pipeline.data.decode.resize_image` as two products with matrices, up to float32's rounding.

    Args:
        images: (batch, height, width, 3) uint8.
        size: (2,) int32, height and width of the result.

    Returns:
        (batch, *size, 3) uint8.
    """
    batch, height, width, channels = tf.unstack(tf.shape(images))
    new_height, new_width = tf.unstack(size)
    rows = tf.reshape(tf.cast(images, tf.float32), [batch, height, width * channels])
    rows = tf.matmul(triangle_weights(height, new_height), rows)  # (batch, new height, width x channels)
    columns = tf.reshape(rows, [batch * new_height, width, channels])
    columns = tf.matmul(triangle_weights(width, new_width), columns)  # (batch x new height, new width, channels)
    resized = tf.reshape(columns, [batch, new_height, new_width, 3])
    return tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)


def triangle_weights(length: tf.Tensor, new_length: tf.Tensor) -> tf.Tensor:
    """How much each pixel of a row counts for each pixel of the resized row, (new length, length) float32.

    The triangle filter of TensorFlow's ScaleAndTranslate (`ComputeSpansCore` in scale_and_translate_op.cc), with its
    order of operations, since rounding decides about values between two whole numbers: around the centre of the new
    pixel, as wide as two pixels of whichever of the two rows has the larger ones; each row of weights sums to 1.
    """
    ratio = 1 / (tf.cast(new_length, tf.float32) / tf.cast(length, tf.float32))
    centres = (tf.cast(tf.range(new_length), tf.float32) + 0.5) * ratio
    distances = tf.abs(tf.cast(tf.range(length), tf.float32) + 0.5 - centres[:, tf.newaxis])
    weights = tf.maximum(1 - distances * (1 / tf.maximum(ratio, 1.0)), 0.0)
    return weights * (1 / tf.reduce_sum(weights, axis=1, keepdims=True))
