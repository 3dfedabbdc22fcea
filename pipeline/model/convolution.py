"""Convolution by whichever of TensorFlow's kernels is the faster one, where it has two: oneDNN's or Eigen's."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import keras
import tensorflow as tf

from pipeline.runtime.kernels import onednn_without_avx512

FEW = 4  # channels, such as an image's: with them oneDNN's kernel takes a third of the time of Eigen's

_one_image: ContextVar[bool] = ContextVar("one_image", default=False)


@contextlib.contextmanager
def one_image() -> Iterator[None]:
    """Networks that are traced within this block predict one image at a time, without gradients."""
    token = _one_image.set(True)
    try:
        yield
    finally:
        _one_image.reset(token)


def predicts_one_image() -> bool:
    """Whether it is a block of `one_image`, on a processor where oneDNN is slow at it."""
    return _one_image.get() and onednn_without_avx512()


class Convolution(keras.layers.Conv2D):
    """Keras's layer, with the same weights and, up to rounding, the same results.

    Without AVX-512 oneDNN trains faster than Eigen, but a convolution of a single image takes 1.2 times as long: it
    copies the pixels below each 3x3 kernel, and threads share one image badly. There, TensorFlow's operation Conv is
    used, which it computes by Eigen whatever Conv2D is computed by. Conv has no gradient.
    """

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Args: inputs: (batch, height, width, channels). kernel: (side, side, channels, filters)."""
        side, _, channels, _ = kernel.shape
        copies = side > 1 or self.use_bias  # oneDNN's, of the patches, or fused with the addition of the bias
        if not (predicts_one_image() and copies and channels > FEW and inputs.dtype == tf.float32):
            return super().convolution_op(inputs, kernel)
        return tf.raw_ops.Conv(
            input=inputs,
            filter=kernel,
            strides=[1, *self.strides, 1],
            padding=self.padding.upper(),
            dilations=[1, *self.dilation_rate, 1],
        )
