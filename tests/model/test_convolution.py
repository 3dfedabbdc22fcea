"""Convolutions of single images: whichever kernels compute them, they are the same up to rounding."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.model import convolution, normalization
from pipeline.model.convolution import Convolution, one_image
from pipeline.model.unet import build_unet
from tests.model.networks import model_config


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
    """And in batches, in training and in exported files it has TensorFlow's usual operations."""
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


def test_it_can_be_trained(avx2: None) -> None:
    network = keras.Sequential([keras.Input((4, 4, 8)), Convolution(2, 3)])
    network.compile("sgd", "mse")
    loss = network.train_on_batch(np.ones((2, 4, 4, 8), np.float32), np.ones((2, 2, 2, 2), np.float32))
    assert np.isfinite(loss)
