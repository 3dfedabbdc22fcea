"""The U-Net (Ronneberger, Fischer and Brox 2015) by depth, width and encoder."""

import math
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from pipeline.config.schema import ModelConfig
from pipeline.model.convolution import Convolution
from pipeline.model.dropout import Dropout
from pipeline.model.encoders.registry import ENCODER, ENCODERS, Features
from pipeline.model.normalization import BatchNormalization
from pipeline.runtime.seeds import derive_seed

LOGITS = "logits"  # prefix of the names of the layers whose channels are the classes


def build_unet(config: ModelConfig, classes: int, seed: int) -> keras.Model:
    """A U-Net from RGB images to logits; both sides of its input must be multiples of 2**depth.

    Every level of the decoder has two 3x3 convolutions; a step up doubles the sides, halves the channels and
    concatenates the encoder's features of the same size. Every layer is named explicitly, so that weights have the same
    names in every process, and every initial weight is a function of (seed, layer).

    Returns:
        A model from (batch, height, width, 3) uint8 RGB, 0 to 255, to (batch, height, width, classes) float32 logits.
    """
    image = keras.Input((None, None, 3), dtype="uint8", name="image")
    if config.name == "unet":
        *skips, x = _plain_encoder(image, config, seed)
    else:
        *skips, x = ENCODERS[config.name.removeprefix("unet_")].build(image, config.depth, seed)
        x = _dropout(x, "bottom", config, seed)
    levels = [x]  # features of the decoder, the deepest first
    for level in reversed(range(config.depth)):
        channels = config.width * 2**level
        x = _up(x, f"decoder_{level}", config, channels, seed)
        if skips[level] is not None:
            x = layers.Concatenate(name=f"decoder_{level}_join")([skips[level], x])
        x = _block(x, f"decoder_{level}", config, channels, seed)
        levels.append(x)
    model = keras.Model(image, _logits(levels, config, classes, seed), name="unet")
    if config.encoder_norm == "frozen":
        for layer in model.layers:
            if layer.name.startswith(ENCODER) and isinstance(layer, BatchNormalization):
                layer.trainable = False  # Keras then uses the moving statistics, in training too
    return model


def _logits(levels: Features, config: ModelConfig, classes: int, seed: int) -> keras.KerasTensor:
    """Logits of the finest level, or the sum of all levels' logits (the skips of Long et al. 2015, section 4.2).

    In float32 whatever the precision: the loss and the argmax depend on small differences of logits.

    Args:
        levels: features of the decoder, the deepest first.

    Returns:
        (batch, height, width, classes) float32.
    """

    def of_level(level: int) -> keras.KerasTensor:
        name = f"{LOGITS}_{level}" if level else LOGITS
        initializer = _initializer(seed, name)
        if config.logits == "every_level":  # an encoder's features may be large, but the sum should start near zero
            initializer = keras.initializers.RandomNormal(stddev=0.01, seed=derive_seed(seed, "weights", name))
        convolution = Convolution(classes, 1, dtype="float32", kernel_initializer=initializer, name=name)
        return convolution(levels[config.depth - level])

    if config.logits == "finest":
        return of_level(0)
    logits = of_level(config.depth)
    for level in reversed(range(config.depth)):
        larger = Upsampling("bilinear", dtype="float32", name=f"{LOGITS}_{level}_up")(logits)
        logits = layers.Add(dtype="float32", name=f"{LOGITS}_{level}_sum")([larger, of_level(level)])
    return logits


def _plain_encoder(image: keras.KerasTensor, config: ModelConfig, seed: int) -> Features:
    """The encoder of the paper: two 3x3 convolutions at every level, then half the sides and twice the channels."""
    x = layers.Rescaling(1 / 127.5, offset=-1, dtype="float32", name="input_scaling")(image)
    skips: Features = []
    for level in range(config.depth):
        x = _block(x, f"encoder_{level}", config, config.width * 2**level, seed)
        if level == config.depth - 1:
            x = _dropout(x, f"encoder_{level}", config, seed)
        skips.append(x)
        x = layers.MaxPooling2D(2, name=f"encoder_{level}_pool")(x)
    x = _block(x, "bottom", config, config.width * 2**config.depth, seed)
    return [*skips, _dropout(x, "bottom", config, seed)]


def _dropout(x: keras.KerasTensor, name: str, config: ModelConfig, seed: int) -> keras.KerasTensor:
    """Dropout after the deepest levels, as in the paper."""
    if not config.dropout:
        return x
    return Dropout(config.dropout, seed=derive_seed(seed, "dropout", name), name=f"{name}_dropout")(x)


def _block(x: keras.KerasTensor, name: str, config: ModelConfig, channels: int, seed: int) -> keras.KerasTensor:
    """Two 3x3 convolutions, each followed by normalisation and ReLU."""
    for part in range(2):
        here = f"{name}_conv_{part}"
        x = Convolution(
            channels,
            3,
            padding="same",
            use_bias=config.norm == "none",  # a normalisation layer has its own offset
            kernel_initializer=_initializer(seed, here),
            name=here,
        )(x)
        if config.norm == "batch":
            # Runs of a few hundred steps are common here; after those, 0.99 (Keras's default) would not have converged.
            x = BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}_norm_{part}")(x)
        elif config.norm == "group":
            x = layers.GroupNormalization(math.gcd(8, channels), epsilon=1e-3, name=f"{name}_norm_{part}")(x)
        x = layers.ReLU(name=f"{name}_relu_{part}")(x)
    return x


def _up(x: keras.KerasTensor, name: str, config: ModelConfig, channels: int, seed: int) -> keras.KerasTensor:
    """Double the sides and reduce to `channels`."""
    here = f"{name}_up"
    if config.upsampling == "transposed":
        initializer = _initializer(seed, here)
        return layers.Conv2DTranspose(channels, 2, strides=2, kernel_initializer=initializer, name=here)(x)
    # A 1x1 convolution and an interpolation commute; before the interpolation the convolution costs a quarter.
    x = Convolution(channels, 1, kernel_initializer=_initializer(seed, f"{here}_conv"), name=f"{here}_conv")(x)
    return Upsampling(config.upsampling, name=here)(x)


class Upsampling(layers.Layer):
    """Double the height and width of (batch, height, width, channels) by nearest or bilinear interpolation.

    Keras's UpSampling2D cannot interpolate bilinearly where the size is not known when the graph is built.
    """

    def __init__(self, interpolation: str, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.interpolation = interpolation

    def call(self, x: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        # The gradient of a nearest `resize` has no deterministic GPU kernel; LiteRT cannot convert `repeat`.
        if self.interpolation == "nearest" and training is not False:
            return tf.repeat(tf.repeat(x, 2, axis=1), 2, axis=2)
        return tf.cast(tf.image.resize(x, 2 * tf.shape(x)[1:3], method=self.interpolation), x.dtype)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        batch, height, width, channels = input_shape
        return batch, height and 2 * height, width and 2 * width, channels


def _initializer(seed: int, layer: str) -> keras.Initializer:
    return keras.initializers.HeNormal(seed=derive_seed(seed, "weights", layer))
