"""From an image to logits at its original size, independent of the other images of a batch."""

from collections.abc import Iterator

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.config.overrides import checked_config
from pipeline.data import decode
from pipeline.model.convolution import one_image
from pipeline.model.inference import class_indices, predict_logits, predictor
from pipeline.model.tta import Views
from pipeline.model.unet import build_unet
from tests.model.networks import model_config, random_image

MULTIPLE = 4
SINGLE = Views(MULTIPLE)


@pytest.fixture(scope="module")
def model() -> keras.Model:
    return build_unet(model_config(dropout=0.3), 5, seed=0)


def test_logits_of_a_padded_image_are_cropped_to_its_size(model: keras.Model) -> None:
    image = random_image(9, 14)
    padded = decode.pad_reflect(image, MULTIPLE)
    size = tf.constant([9, 14])
    logits = predict_logits(model, padded, size, size, SINGLE)
    assert logits.shape == (9, 14, 5) and logits.dtype == tf.float32
    with one_image():  # for which other kernels may be used
        expected = model(padded[tf.newaxis], training=False)[0, :9, :14]
    np.testing.assert_array_equal(logits, expected)


@pytest.mark.parametrize("original", [(18, 28), (5, 7), (30, 14)])
def test_logits_are_resized_bilinearly_to_the_original_size(model: keras.Model, original: tuple[int, int]) -> None:
    """Compared with the formula of bilinear interpolation between pixel centres, in float64."""
    padded = decode.pad_reflect(random_image(9, 14), MULTIPLE)
    scaled = model(padded[tf.newaxis], training=False)[0, :9, :14].numpy().astype(float)
    logits = predict_logits(model, padded, tf.constant([9, 14]), tf.constant(original), SINGLE)
    assert logits.shape == (*original, 5)
    expected = scaled
    for axis in (0, 1):
        ratio = scaled.shape[axis] / original[axis]
        at = np.clip((np.arange(original[axis]) + 0.5) * ratio - 0.5, 0, scaled.shape[axis] - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, scaled.shape[axis] - 1)
        share = (at - low).reshape([-1 if i == axis else 1 for i in range(3)])
        expected = np.take(expected, low, axis) * (1 - share) + np.take(expected, high, axis) * share
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_neither_dropout_nor_batch_statistics_are_used(model: keras.Model) -> None:
    size = tf.constant([8, 8])
    before = [weight.numpy() for weight in model.weights]
    first = predict_logits(model, random_image(8, 8), size, size, SINGLE)
    np.testing.assert_array_equal(first, predict_logits(model, random_image(8, 8), size, size, SINGLE))
    for values, weight in zip(before, model.weights, strict=True):
        np.testing.assert_array_equal(values, weight)


def test_class_indices_are_those_of_the_greatest_logits() -> None:
    logits = tf.constant([[[1.0, 3, 2], [5, 5, 4], [-3, -2, -1]]])
    indices = class_indices(logits)
    assert indices.dtype == tf.uint8
    assert indices.numpy().tolist() == [[1, 0, 2]]
    many = np.zeros((1, 2, 255), np.float32)
    many[0, 0, 254] = many[0, 1, 200] = 1
    assert class_indices(tf.constant(many)).numpy().tolist() == [[254, 200]]


@pytest.mark.parametrize("long_side", [None, 12, 40])
def test_the_predictor_does_what_its_parts_do(model: keras.Model, long_side: int | None) -> None:
    predict = predictor(model, checked_config(["model.depth=2", f"long_side={long_side or 'null'}"]))
    for height, width in ((9, 14), (16, 16), (1, 23), (30, 5)):
        image = random_image(height, width)
        scaled = decode.scale_image(image, long_side)
        padded = decode.pad_reflect(scaled, MULTIPLE)
        logits = predict_logits(model, padded, tf.shape(scaled)[:2], tf.constant([height, width]), SINGLE)
        indices = predict(image)
        assert indices.shape == (height, width) and indices.dtype == tf.uint8
        # The graph may fuse operations: where two logits are almost equal, either class is correct.
        top = np.sort(logits.numpy(), axis=-1)
        sure = top[..., -1] - top[..., -2] > 1e-4
        np.testing.assert_array_equal(indices.numpy()[sure], class_indices(logits).numpy()[sure])
        assert sure.mean() > 0.9
    assert predict.experimental_get_tracing_count() == 1


@pytest.fixture
def bfloat16() -> Iterator[None]:
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    yield
    keras.config.set_dtype_policy(before)


def test_half_precision_gives_float32_logits(bfloat16: None) -> None:
    half = build_unet(model_config(depth=1, width=2, norm="group"), 3, seed=0)
    logits = predict_logits(half, random_image(8, 8), tf.constant([8, 8]), tf.constant([11, 12]), Views(2))
    assert logits.dtype == tf.float32 and logits.shape == (11, 12, 3)
