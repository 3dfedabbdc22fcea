"""Convolutions of single images: whichever kernels compute them, they are the same up to rounding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.model import convolution, normalization
from pipeline.model.convolution import MANY, Convolution, one_image
from pipeline.model.unet import build_unet
from tests.model.networks import model_config

KINDS = (Convolution, keras.layers.Conv2D)


def operations(function: tf.types.experimental.PolymorphicFunction) -> list[str]:
    """The types of the operations in a function's graph."""
    return [operation.type for operation in function.get_concrete_function().graph.get_operations()]


@pytest.fixture
def avx2(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if oneDNN computed on a processor without AVX-512."""
    for module in (convolution, normalization):
        monkeypatch.setattr(module, "onednn_without_avx512", lambda: True)


@pytest.mark.parametrize(
    ("channels", "options", "operation"),
    [
        (8, {"kernel_size": 3}, "Conv"),
        (8, {"kernel_size": 3, "strides": 2}, "Conv"),
        (8, {"kernel_size": 3, "padding": "valid", "dilation_rate": 2}, "Conv"),
        (8, {"kernel_size": 1}, "Conv"),
        (8, {"kernel_size": 1, "use_bias": False}, "Conv2D"),
        (3, {"kernel_size": 3}, "Conv2D"),
        (8, {"kernel_size": 3, "dtype": "mixed_bfloat16"}, "Conv2D"),
    ],
)
def test_one_image_is_convolved_like_a_batch(avx2: None, channels: int, options: dict, operation: str) -> None:
    layer = Convolution(**{"filters": 5, "padding": "same", **options})
    image = np.random.default_rng(0).normal(size=(1, 9, 12, channels)).astype(np.float32)
    expected = layer(image)

    @tf.function(autograph=False)
    def alone() -> tf.Tensor:
        with one_image():
            return layer(image)

    assert operation in operations(alone)
    assert alone().dtype == expected.dtype
    np.testing.assert_allclose(tf.cast(alone(), tf.float32), tf.cast(expected, tf.float32), atol=1e-5)


def test_a_network_has_the_same_logits_without_fused_operations(avx2: None) -> None:
    """And in batches and in exported files it has TensorFlow's usual operations."""
    network = build_unet(model_config(depth=1, width=8, norm="batch"), classes=3, seed=0)
    image = np.random.default_rng(0).integers(0, 256, (1, 8, 12, 3), np.uint8)

    @tf.function(autograph=False)
    def usual() -> tf.Tensor:
        return network(image, training=False)

    @tf.function(autograph=False)
    def alone() -> tf.Tensor:
        with one_image():
            return network(image, training=False)

    assert not {"Conv", "EnsureShape"} & set(operations(usual))
    assert {"Conv", "EnsureShape"} <= set(operations(alone))
    np.testing.assert_allclose(alone(), usual(), atol=1e-5)


@pytest.mark.parametrize(
    ("channels", "filters", "options", "own"),
    [
        (MANY, MANY, {}, True),
        (MANY, 2 * MANY, {"use_bias": False}, True),
        (MANY, MANY - 1, {}, False),
        (MANY, MANY, {"strides": 2}, False),
        (MANY, MANY, {"padding": "valid"}, False),
        (MANY, MANY, {"trainable": False}, False),
    ],
)
def test_gradients_are_those_of_kerass_layer(avx2: None, channels: int, filters: int, options: dict, own: bool) -> None:
    layers = [kind(**{"filters": filters, "kernel_size": 3, "padding": "same", **options}) for kind in KINDS]
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 5, 7, channels)).astype(np.float32))
    for layer in layers:
        layer.build(x.shape)
    layers[1].set_weights(layers[0].get_weights())

    def gradients(layer: keras.layers.Layer) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(layer(x, training=True) ** 2 if isinstance(layer, Convolution) else layer(x) ** 2)
        return tape.gradient(loss, [x, *(variable.value for variable in layer.trainable_variables)])

    graph = tf.function(lambda: gradients(layers[0]), autograph=False)
    assert ("BatchMatMulV2" in operations(graph)) == own
    for here, keras_gradient in zip(graph(), gradients(layers[1]), strict=True):
        np.testing.assert_allclose(here, keras_gradient, rtol=1e-4, atol=1e-3)
