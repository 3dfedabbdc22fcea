"""Dropout with a rate that can change after the graph is compiled."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.model.dropout import Dropout

SHAPE = (2, 7, 5, 3)


def images(dtype: str) -> tf.Tensor:
    return tf.cast(np.random.default_rng(0).normal(size=SHAPE), dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_numbers_are_those_of_keras(rate: float, dtype: str) -> None:
    ours, theirs = Dropout(rate, seed=3, dtype=dtype), keras.layers.Dropout(rate, seed=3, dtype=dtype)
    for _ in range(3):
        np.testing.assert_array_equal(ours(images(dtype), training=True), theirs(images(dtype), training=True))


def test_a_compiled_graph_takes_another_rate_and_seed() -> None:
    layer, image = Dropout(0.5, seed=1), tf.ones(SHAPE)
    compiled = tf.function(lambda x: layer(x, training=True))
    compiled(image)
    for rate, seed in ((0.1, 1), (0.8, 4), (0.5, 1)):
        layer.become(rate, seed)
        new = Dropout(rate, seed=seed)
        for _ in range(2):
            np.testing.assert_array_equal(compiled(image), new(image, training=True))
    assert compiled.experimental_get_tracing_count() == 1


def test_the_gradient_is_that_of_what_is_kept() -> None:
    layer, image = Dropout(0.25, seed=1), tf.ones(SHAPE)
    with tf.GradientTape() as tape:
        tape.watch(image)
        dropped = layer(image, training=True)
    gradient = tape.gradient(dropped, image).numpy()
    np.testing.assert_array_equal(gradient, dropped.numpy())  # of ones: 0, or 1 / (1 - rate)
    assert set(np.unique(gradient)) == {np.float32(0), np.float32(4 / 3)}


def test_nothing_is_dropped_outside_of_training() -> None:
    np.testing.assert_array_equal(Dropout(0.5, seed=1)(images("float32")), images("float32"))


def test_the_rate_is_no_weight() -> None:
    layer = Dropout(0.5, seed=1)
    layer(tf.ones(SHAPE))
    assert layer.weights == [] and len(layer.variables) == 1  # the state of its random generator
    assert Dropout.from_config(layer.get_config()).rate == 0.5
