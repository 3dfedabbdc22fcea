"""The fused batch normalisation against Keras's own layer."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.model.normalization import BatchNormalization

CHANNELS = 5


def layers(**arguments: object) -> tuple[keras.layers.Layer, keras.layers.Layer]:
    """This project's layer and Keras's, with the same random weights."""
    rng = np.random.default_rng(0)
    values = [rng.uniform(0.5, 2, CHANNELS).astype(np.float32) for _ in range(4)]
    both = BatchNormalization(**arguments), keras.layers.BatchNormalization(**arguments)
    for layer in both:
        layer.build((None, None, None, CHANNELS))
        layer.set_weights(values)
    return both


def features(seed: int = 1, shape: tuple[int, ...] = (3, 4, 6, CHANNELS)) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).normal(2, 3, shape).astype(np.float32))


@pytest.mark.parametrize("training", [True, False])
def test_values_gradients_and_statistics_equal_keras_ones(training: bool) -> None:
    results = []
    for layer in layers(momentum=0.9, epsilon=1e-3):
        x = features()
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=training)
            loss = tf.reduce_sum(y * features(2))
        weights = [weight.value for weight in layer.trainable_variables]
        results.append([y, *tape.gradient(loss, [x, *weights]), *layer.get_weights()])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_names_of_weights_equal_keras_ones() -> None:
    ours, theirs = layers(name="norm")
    assert [weight.path for weight in ours.weights] == [weight.path for weight in theirs.weights]


def test_a_frozen_layer_uses_its_statistics_in_training() -> None:
    ours, theirs = layers()
    ours.trainable = theirs.trainable = False
    before = ours.get_weights()
    np.testing.assert_allclose(ours(features(), training=True), theirs(features(), training=True), rtol=1e-4, atol=1e-5)
    for values, now in zip(before, ours.get_weights(), strict=True):
        np.testing.assert_array_equal(values, now)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_gradients_through_a_frozen_layer_equal_keras_ones(policy: str) -> None:
    """Without the gradient of the fused operation, which has no deterministic GPU kernel."""
    gradients = []
    for layer in layers(dtype=policy):
        layer.trainable = False

        @tf.function
        def gradient(x: tf.Tensor, layer: keras.layers.Layer = layer) -> tf.Tensor:
            with tf.GradientTape() as tape:
                tape.watch(x)
                loss = tf.reduce_sum(tf.cast(layer(x, training=True), tf.float32) * features(2))
            return tape.gradient(loss, x)

        gradients.append(gradient(features()))
        kinds = {operation.type for operation in gradient.get_concrete_function(features()).graph.get_operations()}
        assert not [kind for kind in kinds if "NormGrad" in kind]
    np.testing.assert_allclose(*gradients, rtol=1e-5 if policy == "float32" else 0.02)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_keeps_dtype_and_float32_statistics(policy: str) -> None:
    ours, theirs = layers(dtype=policy)
    found, expected = (layer(tf.cast(features(), policy[6:]), training=True) for layer in (ours, theirs))
    assert found.dtype == expected.dtype == policy[6:]
    np.testing.assert_allclose(tf.cast(found, tf.float32), tf.cast(expected, tf.float32), rtol=0.02, atol=0.02)
    for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert one.dtype == np.float32
        np.testing.assert_allclose(one, other, rtol=1e-2)


def test_a_single_pixel_has_no_variance(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, _ = layers(momentum=0.5)
    fused = ours._fused  # on GPUs its unbiased variance of a single value is NaN
    monkeypatch.setattr(ours, "_fused", lambda *a, **b: (*fused(*a, **b)[:2], tf.fill([CHANNELS], math.nan)))
    before = ours.moving_variance.numpy()
    ours(features(shape=(1, 1, 1, CHANNELS)), training=True)
    np.testing.assert_allclose(ours.moving_variance, before / 2, rtol=1e-6)
