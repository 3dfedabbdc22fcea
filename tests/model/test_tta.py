"""Mirrored, scaled and windowed views of an image, against loops in numpy."""

import numpy as np
import tensorflow as tf

from pipeline.model.tta import Views
from tests.model.networks import pointwise, position_dependent, random_image


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def test_mirrored_logits_are_mirrored_back_and_averaged() -> None:
    image, size = random_image(8, 12), tf.constant([8, 12])
    averaged = Views(4, flip=True).averaged(position_dependent, image[tf.newaxis], size)[0].numpy()
    straight = softmax(position_dependent(image[tf.newaxis]).numpy()[0])
    mirrored = softmax(position_dependent(image[tf.newaxis, :, ::-1]).numpy()[0])[:, ::-1]
    np.testing.assert_allclose(np.exp(averaged), (straight + mirrored) / 2, rtol=1e-4)
    same = Views(4, flip=True).averaged(pointwise, image[tf.newaxis], size)[0].numpy()
    np.testing.assert_allclose(np.exp(same), softmax(pointwise(image[tf.newaxis]).numpy()[0]), rtol=1e-4)


def test_a_mirrored_view_is_padded_on_the_same_side() -> None:
    """For sides that are not multiples of 4, the padding is cropped, not the image."""
    image, size = random_image(7, 9), tf.constant([7, 9])
    averaged = Views(4, flip=True).averaged(pointwise, image[tf.newaxis], size)[0].numpy()
    np.testing.assert_allclose(np.exp(averaged), softmax(pointwise(image[tf.newaxis]).numpy()[0]), rtol=1e-4)


def test_scales_are_sizes_and_logits_have_the_original_size() -> None:
    seen = []

    def network(images: tf.Tensor) -> tf.Tensor:
        seen.append(tuple(images.shape[1:3]))
        return pointwise(images)

    averaged = Views(4, scales=(0.5, 1.0, 1.5), flip=True).averaged(
        network, random_image(16, 24)[tf.newaxis], tf.constant([40, 60])
    )
    assert seen == [(8, 12)] * 2 + [(16, 24)] * 2 + [(24, 36)] * 2
    assert averaged.shape == (1, 40, 60, 2)
    np.testing.assert_allclose(tf.reduce_sum(tf.exp(averaged), -1), 1, rtol=1e-5)
    flat = tf.fill((1, 16, 24, 3), tf.constant(70, tf.uint8))
    np.testing.assert_allclose(
        Views(4, (0.5, 1.0)).averaged(pointwise, flat, tf.constant([16, 24])), np.log(0.5), rtol=1e-5
    )


def test_a_single_view_is_recognised() -> None:
    assert Views(4).single and Views(4, window=8).single
    assert not Views(4, flip=True).single and not Views(4, scales=(0.5,)).single
