"""From a padded picture to logits and class indices: one way for validation, test, predict and serving."""

from collections.abc import Callable

import keras
import tensorflow as tf

from pipeline.data import decode


def predict_logits(model: keras.Model, padded: tf.Tensor, working: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
    """Logits of one picture at its own size.

    The network sees one picture at a time: with more, processors and GPUs choose other kernels, and the last bits of a
    picture's logits would depend on its neighbours.

    Args:
        padded: (height, width, 3) uint8, scaled to the long side and padded.
        working: (2,) int32 size of the picture in `padded`.
        own: (2,) int32 size of the file's picture.

    Returns:
        (own height, own width, classes) float32.
    """
    logits = model(padded[tf.newaxis], training=False)[:, : working[0], : working[1]]
    # Bilinear at unchanged size would be the identity, at the cost of a copy.
    return tf.cond(tf.reduce_all(working == own), lambda: logits, lambda: tf.image.resize(logits, own))[0]


def class_indices(logits: tf.Tensor) -> tf.Tensor:
    """(height, width) uint8 of the greatest logit; the first of equals."""
    return tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)


def predictor(model: keras.Model, long_side: int | None, multiple: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """A compiled function from a decoded picture (height, width, 3) uint8 to class indices (height, width) uint8."""

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)])
    def predict(image: tf.Tensor) -> tf.Tensor:
        scaled = decode.scale_image(image, long_side)
        padded = decode.pad_reflect(scaled, multiple)
        return class_indices(predict_logits(model, padded, tf.shape(scaled)[:2], tf.shape(image)[:2]))

    return predict
