"""Dropout whose rate is read when the graph runs, so that runs of other rates use the same compiled graph."""

from typing import Any

import keras
import tensorflow as tf


class Dropout(keras.layers.Dropout):
    """Keras's layer (Srivastava et al. 2014), with the same numbers for the same seed, at rates between 0 and 1.

    Keras makes the rate a constant of the graph. A search draws another one for every trial, and compiling a network
    takes longer than a short trial trains.
    """

    def __init__(self, rate: float, **options: Any) -> None:
        super().__init__(rate, **options)
        # (2,) rate and scale; not a weight: it belongs to the configuration. It is set before each training.
        self._rate_and_scale = tf.Variable(_with_scale(rate), trainable=False, name="rate_and_scale")

    def become(self, rate: float, seed: int) -> None:
        """Draw from now on as a new layer with this rate and seed does."""
        self.rate, self.seed = rate, seed
        self._rate_and_scale.assign(_with_scale(rate))
        self.seed_generator.state.assign([seed, 0])

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        if not training:
            return inputs
        rate, scale = tf.unstack(tf.cast(self._rate_and_scale, inputs.dtype))
        # TensorFlow has int64 seeds in variables, and int32 ones in operations.
        seed = tf.cast(tf.math.floormod(self.seed_generator.next(), tf.int32.max - 1), tf.int32)
        kept = tf.random.stateless_uniform(tf.shape(inputs), seed, dtype=inputs.dtype) >= rate
        return tf.where(kept, inputs * scale, tf.zeros([], inputs.dtype))


def _with_scale(rate: float) -> list[float]:
    """The rate, and by what kept values are multiplied so that their sum is expected to stay the same."""
    return [rate, 1 / (1 - rate)]
