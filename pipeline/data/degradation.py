"""What poor cameras do to an image: blur, noise and the artefacts of JPEG, each of them to half of the crops."""

import math
from typing import NamedTuple

import tensorflow as tf

from pipeline.config.schema import AugmentConfig

BEST = 100  # quality of JPEG


class Degradation(NamedTuple):
    """How much a crop loses; 0: nothing."""

    blur: tf.Tensor  # (...) float32, standard deviation of the Gaussian in pixels
    noise: tf.Tensor  # (...) float32, standard deviation of the values, which go from 0 to 255
    quality: tf.Tensor  # (...) int32, of JPEG
    key: tf.Tensor  # (..., 2) int64, of the random numbers of the noise


def degradations(config: AugmentConfig, numbers: tf.Tensor, keys: tf.Tensor) -> Degradation | None:
    """Draw which crops are blurred, noisy and compressed, and how much: uniformly up to the worst of the configuration.

    Args:
        numbers: (crops, 8) float32 in [0, 1); columns 0 to 3 are used.
        keys: (crops, 2) int64, another for each crop.

    Returns:
        A degradation for each crop. None if config has none.
    """
    if not (config.blur or config.noise or config.jpeg):
        return None
    blur, noise = (most * tf.maximum(2 * numbers[:, i] - 1, 0.0) for i, most in enumerate((config.blur, config.noise)))
    lowest = config.jpeg or BEST
    quality = lowest + tf.cast(numbers[:, 2] * (BEST - lowest + 1), tf.int32)
    chosen = tf.logical_and(config.jpeg is not None, numbers[:, 3] < 0.5)
    return Degradation(blur, noise, tf.where(chosen, quality, 0), keys)


def blurred(image: tf.Tensor, deviation: tf.Tensor, most: float) -> tf.Tensor:
    """Convolve with a Gaussian, first down and then across; beyond its edges the image is reflected.

    Args:
        image: (crop, crop, channels) float32.
        deviation: scalar, standard deviation in pixels; 0: the same bits come back.
        most: the greatest deviation there is, which decides where the Gaussian is cut off.
    """
    crop = image.shape[0]
    reach = min(math.ceil(3 * most), crop - 1)

    def convolved() -> tf.Tensor:
        offsets = tf.range(-reach, reach + 1, dtype=tf.float32)
        weights = tf.nn.softmax(-tf.square(offsets / deviation) / 2)
        # Shifted images are added up: for one image, TensorFlow's convolution takes several times as long.
        padded = tf.pad(image, [[reach, reach], [reach, reach], [0, 0]], "REFLECT")
        down = tf.add_n([weights[i] * padded[i : i + crop] for i in range(2 * reach + 1)])
        return tf.add_n([weights[i] * down[:, i : i + crop] for i in range(2 * reach + 1)])

    return tf.cond(deviation > 0, convolved, lambda: image)


def noise_of(degradation: Degradation, shape: tuple[int, ...]) -> tf.Tensor:
    """Gaussian noise, float32 of this shape, that is another for each crop; zeros where there is none."""

    def drawn() -> tf.Tensor:
        return degradation.noise * tf.random.stateless_normal(shape, degradation.key, alg="philox")

    return tf.cond(degradation.noise > 0, drawn, lambda: tf.zeros(shape))


def compressed(image: tf.Tensor, quality: tf.Tensor) -> tf.Tensor:
    """An image as JPEG of this quality gives it back.

    Args:
        image: (height, width, 3) uint8.
        quality: scalar int32 from 1 to 100; 0: the same bits come back.
    """

    def decoded() -> tf.Tensor:
        content = tf.raw_ops.EncodeJpegVariableQuality(images=image, quality=quality)
        return tf.ensure_shape(tf.io.decode_jpeg(content, 3, dct_method="INTEGER_ACCURATE"), image.shape)

    return tf.cond(quality > 0, decoded, lambda: image)
