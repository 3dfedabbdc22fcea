"""Blur, noise and JPEG: nothing where nothing is drawn, and what their names say where it is."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.data import degradation
from pipeline.data.degradation import Degradation
from tests.data.augmentations import augmentation

IMAGE = tf.constant(np.random.default_rng(0).uniform(0, 255, (24, 24, 3)).astype(np.float32))
KEY = tf.constant([7, 1], tf.int64)


def one(blur: float = 0, noise: float = 0, quality: int = 0, key: tf.Tensor = KEY) -> Degradation:
    return Degradation(tf.constant(blur, tf.float32), tf.constant(noise, tf.float32), tf.constant(quality), key)


def test_each_of_them_acts_on_half_of_the_crops() -> None:
    numbers = tf.constant(np.random.default_rng(0).random((2000, 8)).astype(np.float32))
    found = degradation.degradations(augmentation(blur=2, noise=20, jpeg=40), numbers, tf.zeros((2000, 2), tf.int64))
    assert found is not None
    for values, most in ((found.blur.numpy(), 2), (found.noise.numpy(), 20)):
        assert 0.45 < (values > 0).mean() < 0.55 and values.max() <= most
        np.testing.assert_allclose(np.quantile(values[values > 0], [0.25, 0.75]), [most / 4, 3 * most / 4], rtol=0.15)
    quality = found.quality.numpy()
    assert 0.45 < (quality > 0).mean() < 0.55
    assert quality[quality > 0].min() == 40 and quality.max() == 100
    both = ((found.blur > 0) & (found.noise > 0)).numpy().mean()
    assert 0.2 < both < 0.3  # they are independent


def test_without_them_nothing_is_drawn() -> None:
    assert degradation.degradations(augmentation(), tf.zeros((2, 8)), tf.zeros((2, 2), tf.int64)) is None
    found = degradation.degradations(augmentation(blur=1), tf.ones((2, 8)) * 0.9, tf.zeros((2, 2), tf.int64))
    assert found is not None and not found.noise.numpy().any() and not found.quality.numpy().any()


def test_a_crop_without_them_keeps_its_bits() -> None:
    np.testing.assert_array_equal(degradation.blurred(IMAGE, tf.constant(0.0), 3), IMAGE)
    np.testing.assert_array_equal(degradation.noise_of(one(), (24, 24, 3)), np.zeros((24, 24, 3)))
    bytes_of = tf.cast(IMAGE, tf.uint8)
    np.testing.assert_array_equal(degradation.compressed(bytes_of, tf.constant(0)), bytes_of)


@pytest.mark.parametrize("deviation", [0.6, 1.5])
def test_blur_is_a_gaussian(deviation: float) -> None:
    point = np.zeros((24, 24, 3), np.float32)
    point[12, 12] = 100
    found = degradation.blurred(tf.constant(point), tf.constant(deviation), 3).numpy()
    offsets = np.arange(24) - 12
    weights = np.exp(-(offsets**2) / (2 * deviation**2))
    weights /= weights.sum()
    np.testing.assert_allclose(found[..., 1], 100 * np.outer(weights, weights), atol=0.01)
    even = tf.fill((24, 24, 3), 80.0)
    np.testing.assert_allclose(degradation.blurred(even, tf.constant(deviation), 3), even, rtol=1e-5)


def test_a_wide_blur_of_a_small_crop() -> None:
    small = IMAGE[:8, :8]
    found = degradation.blurred(small, tf.constant(10.0), 10).numpy()
    assert found.std() < 0.3 * small.numpy().std() and np.isfinite(found).all()


def test_noise_is_another_for_each_key() -> None:
    found, again, other = (
        degradation.noise_of(one(noise=10, key=tf.constant(key, tf.int64)), (64, 64, 3)).numpy()
        for key in ([7, 1], [7, 1], [7, 2])
    )
    assert (found == again).all() and (found != other).mean() > 0.99
    assert found.std() == pytest.approx(10, rel=0.05) and abs(found.mean()) < 0.5


def test_lower_quality_loses_more() -> None:
    smooth = tf.cast(tf.image.resize(IMAGE[::6, ::6], (24, 24)), tf.uint8)
    losses = [
        np.abs(degradation.compressed(smooth, tf.constant(quality)).numpy().astype(int) - smooth.numpy()).mean()
        for quality in (100, 60, 20)
    ]
    assert 0 < losses[0] < losses[1] < losses[2]
