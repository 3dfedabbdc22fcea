"""The graph of exported files does what validation, test and predict do, in operations that other formats have."""

from fractions import Fraction

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.overrides import checked_config
from pipeline.data import decode
from pipeline.export.graph import in_float32, portable_graph, resize_by_matrices, triangle_weights, whole_working_size
from pipeline.model.build import build_network
from pipeline.model.inference import probability_predictor
from tests.model.networks import random_image

SIDES = st.integers(1, 60)


@given(SIDES, SIDES, SIDES, SIDES, st.integers(0, 5))
@settings(max_examples=60)
def test_matrices_resize_as_tensorflow_does(height: int, width: int, tall: int, wide: int, seed: int) -> None:
    """But for values that lie between two whole numbers, which rounding may move to either."""
    image = random_image(height, width, seed)[tf.newaxis]
    found = resize_by_matrices(image, tf.constant([tall, wide])).numpy().astype(int)
    expected = tf.image.resize(image, [tall, wide], antialias=True).numpy()
    assert found.shape == (1, tall, wide, 3)
    assert np.abs(found - expected).max() < 0.5 + 1e-3
    np.testing.assert_allclose(tf.reduce_sum(triangle_weights(tf.constant(height), tf.constant(tall)), 1), 1, rtol=1e-5)


@given(st.integers(1, 20000), st.integers(1, 20000), st.integers(8, 4096))
@settings(max_examples=200)
def test_the_working_size_is_rounded_exactly(height: int, width: int, long_side: int) -> None:
    exact = [Fraction(side * long_side, max(height, width)) for side in (height, width)]
    found = whole_working_size(tf.constant([height, width]), long_side).numpy().tolist()
    assert found == [max(1, round(side)) for side in exact]
    if all(side.denominator != 2 for side in exact):
        assert found == decode.working_size(tf.constant([height, width]), long_side).numpy().tolist()


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="plain"),
        pytest.param(["long_side=20", "precision=mixed_bfloat16"], id="scaled, bfloat16"),
    ],
)
def test_a_batch_has_the_probabilities_of_its_images(options: list[str]) -> None:
    config = checked_config(["model.depth=1", "model.width=2", "precision=float32", "long_side=null", *options])
    keras.config.set_dtype_policy(config.precision)
    try:
        network = in_float32(build_network(config), config)
    finally:
        keras.config.set_dtype_policy("float32")
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    graph = tf.function(portable_graph(network, config, probabilities=True), autograph=False)
    images = [random_image(37, 23, seed) for seed in (0, 1)]
    predict = probability_predictor(network, config)
    np.testing.assert_allclose(
        graph(tf.stack(images))["probabilities"], np.stack([predict(image)[1] for image in images]), atol=2e-3
    )
