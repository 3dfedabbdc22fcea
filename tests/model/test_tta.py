"""Mirrored, scaled and windowed views of an image, against loops in numpy."""

import numpy as np
import tensorflow as tf

from pipeline.model.tta import Views


def random_image(height: int, width: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def pointwise(images: tf.Tensor) -> tf.Tensor:
    """Logits that depend on a pixel alone, (1, height, width, 2)."""
    return tf.cast(images[..., :2], tf.float32) / 50


def leaning(images: tf.Tensor) -> tf.Tensor:
    """Logits that depend on the place in what is looked at, and on all of it."""
    column = tf.cast(tf.range(tf.shape(images)[2]), tf.float32)[tf.newaxis, tf.newaxis, :, tf.newaxis]
    return pointwise(images) + tf.concat([0.3 * column, -0.1 * column], -1) + tf.reduce_mean(pointwise(images))


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_a_mirrored_view_is_mirrored_back_and_probabilities_are_averaged() -> None:
    image, own = random_image(8, 12), tf.constant([8, 12])
    joined = Views(4, flip=True).joined(leaning, image, own).numpy()
    straight = softmax(leaning(image[tf.newaxis]).numpy()[0])
    mirrored = softmax(leaning(image[tf.newaxis, :, ::-1]).numpy()[0])[:, ::-1]
    np.testing.assert_allclose(np.exp(joined), (straight + mirrored) / 2, rtol=1e-4)
    same = Views(4, flip=True).joined(pointwise, image, own).numpy()
    np.testing.assert_allclose(np.exp(same), softmax(pointwise(image[tf.newaxis]).numpy()[0]), rtol=1e-4)


def test_a_mirrored_view_is_padded_on_the_same_side() -> None:
    """An image whose sides are no multiples: what is cut away is the padding, not the image."""
    image, own = random_image(7, 9), tf.constant([7, 9])
    joined = Views(4, flip=True).joined(pointwise, image, own).numpy()
    np.testing.assert_allclose(np.exp(joined), softmax(pointwise(image[tf.newaxis]).numpy()[0]), rtol=1e-4)


def test_scales_are_sizes_and_come_back_to_the_images_own() -> None:
    seen = []

    def network(images: tf.Tensor) -> tf.Tensor:
        seen.append(tuple(images.shape[1:3]))
        return pointwise(images)

    joined = Views(4, scales=(0.5, 1.0, 1.5), flip=True).joined(network, random_image(16, 24), tf.constant([40, 60]))
    assert seen == [(8, 12)] * 2 + [(16, 24)] * 2 + [(24, 36)] * 2
    assert joined.shape == (40, 60, 2)
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(joined), -1), 1, rtol=1e-5)
    flat = tf.fill((16, 24, 3), tf.constant(70, tf.uint8))
    np.testing.assert_allclose(
        Views(4, (0.5, 1.0)).joined(pointwise, flat, tf.constant([16, 24])), np.log(0.5), rtol=1e-5
    )


def test_one_plain_view_is_plain() -> None:
    assert Views(4).plain and Views(4, window=8).plain
    assert not Views(4, flip=True).plain and not Views(4, scales=(0.5,)).plain
