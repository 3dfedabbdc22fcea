"""Small networks, and stand-ins for networks, that the tests of the model share."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.config.schema import ModelConfig
from pipeline.model.unet import build_unet
from pipeline.model.weights import Arrays


def model_config(name: str = "unet", **values: Any) -> ModelConfig:
    """A U-Net of depth 2 and width 4 with batch normalisation, except for the given values."""
    defaults = {"depth": 2, "width": 4, "norm": "batch", "dropout": 0.0, "upsampling": "bilinear"}
    return ModelConfig(name=name, **{**defaults, **values})


def small_network(seed: int = 0, width: int = 2) -> keras.Model:
    """A U-Net of depth 1 for two classes, with dropout and batch normalisation."""
    return build_unet(model_config(depth=1, width=width, dropout=0.5), 2, seed=seed)


def small_arrays() -> Arrays:
    """Named arrays of different types and shapes."""
    return {
        "logits/bias": np.array([0.5, -1.25], np.float32),
        "encoder_0_conv_0/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "step": np.array(7, np.int64),
    }


def random_image(height: int, width: int, seed: int = 0) -> tf.Tensor:
    """(height, width, 3) uint8."""
    return tf.constant(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def pointwise(images: tf.Tensor) -> tf.Tensor:
    """Logits that depend on a pixel alone, (1, height, width, 2)."""
    return tf.cast(images[..., :2], tf.float32) / 50


def position_dependent(images: tf.Tensor) -> tf.Tensor:
    """Logits that depend on a pixel's column in the input and on the whole input, (1, height, width, 2)."""
    column = tf.cast(tf.range(tf.shape(images)[2]), tf.float32)[tf.newaxis, tf.newaxis, :, tf.newaxis]
    return pointwise(images) + tf.concat([0.3 * column, -0.1 * column], -1) + tf.reduce_mean(pointwise(images))
