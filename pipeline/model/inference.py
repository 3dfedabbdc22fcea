"""From a padded image to logits and class indices: one way for validation, test, predict and serving."""

from collections.abc import Callable

import keras
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.data import decode
from pipeline.model.tta import Views


def predict_logits(
    model: keras.Model, padded: tf.Tensor, working: tf.Tensor, own: tf.Tensor, views: Views
) -> tf.Tensor:
    """Logits of one image at its own size.

    The network sees one image at a time: with more, processors and GPUs choose other kernels, and the last bits of a
    image's logits would depend on its neighbours.

    Args:
        padded: (height, width, 3) uint8, scaled to the long side and padded.
        working: (2,) int32 size of the image in `padded`.
        own: (2,) int32 size of the file's image.
        views: what of it the network sees.

    Returns:
        (own height, own width, classes) float32.
    """

    def network(images: tf.Tensor) -> tf.Tensor:
        return model(images, training=False)

    if not views.plain:
        logits = views.joined(network, padded[: working[0], : working[1]], own)
    else:
        whole = views.logits(network, padded)[:, : working[0], : working[1]]
        # Bilinear at unchanged size would be the identity, at the cost of a copy.
        logits = tf.cond(tf.reduce_all(working == own), lambda: whole, lambda: tf.image.resize(whole, own))[0]
    return tf.ensure_shape(logits, (None, None, model.output_shape[-1]))  # the sum over windows forgets the classes


def class_indices(logits: tf.Tensor) -> tf.Tensor:
    """(height, width) uint8 of the greatest logit; the first of equals."""
    return tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)


def predictor(model: keras.Model, config: Config) -> Callable[[tf.Tensor], tf.Tensor]:
    """A compiled function from a decoded image (height, width, 3) uint8 to class indices (height, width) uint8."""

    views = Views.of(config)

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)
    def predict(image: tf.Tensor) -> tf.Tensor:
        scaled = decode.scale_image(image, config.long_side)
        padded = decode.pad_reflect(scaled, views.multiple)
        return class_indices(predict_logits(model, padded, tf.shape(scaled)[:2], tf.shape(image)[:2], views))

    return predict
