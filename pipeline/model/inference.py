"""From a padded image to logits and class indices: the one implementation for validation, test, predict and serving."""

from collections.abc import Callable

import keras
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.data import decode
from pipeline.model.convolution import one_image
from pipeline.model.tta import Views


def predict_logits(
    model: keras.Model, padded: tf.Tensor, scaled_size: tf.Tensor, original_size: tf.Tensor, views: Views
) -> tf.Tensor:
    """Logits of one image at its original size.

    The network sees one image at a time: for larger batches CPUs and GPUs choose other kernels, and the last bits of an
    image's logits would depend on the other images of its batch.

    Args:
        model: (batch, height, width, 3) uint8 -> (batch, height, width, classes) float32.
        padded: (height, width, 3) uint8, scaled to `long_side`, then padded at the right and bottom.
        scaled_size: (2,) int32, height and width of the image within `padded`.
        original_size: (2,) int32, height and width of the image in its file.
        views: which views of the image are predicted and averaged.

    Returns:
        (original height, original width, classes) float32.
    """

    def network(images: tf.Tensor) -> tf.Tensor:
        with one_image():
            return model(images, training=False)

    if not views.single:
        logits = views.averaged(network, padded[tf.newaxis, : scaled_size[0], : scaled_size[1]], original_size)
    else:
        logits = views.logits(network, padded[tf.newaxis])  # (1, padded height, padded width, classes)
        scaled = logits[:, : scaled_size[0], : scaled_size[1]]
        # A bilinear resize to the same size would be the identity, at the cost of a copy.
        unchanged = tf.reduce_all(scaled_size == original_size)
        logits = tf.cond(unchanged, lambda: scaled, lambda: tf.image.resize(scaled, original_size))
    # The loop over windows loses the static number of classes.
    return tf.ensure_shape(logits[0], (None, None, model.output_shape[-1]))


def class_indices(logits: tf.Tensor) -> tf.Tensor:
    """The class with the greatest logit at each pixel; of equal ones, the first.

    Args:
        logits: (height, width, classes) float32.

    Returns:
        (height, width) uint8.
    """
    return tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)


def predictor(model: keras.Model, config: Config) -> tf.types.experimental.PolymorphicFunction:
    """A `tf.function` from a decoded image (height, width, 3) uint8 to class indices (height, width) uint8."""
    logits_of = logits_of_decoded(model, config)

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)
    def predict(image: tf.Tensor) -> tf.Tensor:
        return class_indices(logits_of(image))

    return predict


def probability_predictor(model: keras.Model, config: Config) -> tf.types.experimental.PolymorphicFunction:
    """A `tf.function` from a decoded image (height, width, 3) uint8 to class indices and their probabilities.

    It returns those of `predictor`, (height, width) uint8, and the softmax of the logits, (height, width, classes)
    float32.
    """
    logits_of = logits_of_decoded(model, config)

    @tf.function(input_signature=[tf.TensorSpec((None, None, 3), tf.uint8)], autograph=False)
    def predict(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = logits_of(image)
        return class_indices(logits), tf.nn.softmax(logits)

    return predict


def logits_predictor(model: keras.Model, config: Config) -> tf.types.experimental.PolymorphicFunction:
    """A `tf.function` from a decoded image, and the height and width of the result, to logits.

    It takes (height, width, 3) uint8 and (2,) int32, and returns (*size, classes) float32.
    """
    signature = [tf.TensorSpec((None, None, 3), tf.uint8), tf.TensorSpec((2,), tf.int32)]
    return tf.function(logits_of_decoded(model, config), input_signature=signature, autograph=False)


def logits_of_decoded(model: keras.Model, config: Config) -> Callable[..., tf.Tensor]:
    """A function for graphs, from a decoded image to its logits, (height, width, classes) float32.

    Its second argument is the size of the result, (2,) int32; without it, it is the image's.
    """
    views = Views.of(config)

    def logits_of(image: tf.Tensor, size: tf.Tensor | None = None) -> tf.Tensor:
        scaled = decode.scale_image(image, config.long_side)
        padded = decode.pad_reflect(scaled, views.multiple)
        return predict_logits(model, padded, tf.shape(scaled)[:2], tf.shape(image)[:2] if size is None else size, views)

    return logits_of
