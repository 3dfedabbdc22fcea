"""Convolution by whichever of TensorFlow's kernels is the fastest one for it, where the usual one is slow."""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar

import keras
import tensorflow as tf

from pipeline.runtime.kernels import onednn_without_avx512

FEW = 4  # channels, such as an image's: with them oneDNN's kernel takes a third of the time of Eigen's
MANY = 32  # channels and filters, from which on products of matrices are faster than oneDNN's gradient of a kernel

_one_image: ContextVar[bool] = ContextVar("one_image", default=False)
_training: ContextVar[bool] = ContextVar("training", default=False)


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

    Without AVX-512 oneDNN is faster than Eigen, with two exceptions. A convolution of a single image takes 1.2 times as
    long: it copies the pixels below each 3x3 kernel, and threads share one image badly. There, TensorFlow's operation
    Conv is used, which it computes by Eigen whatever Conv2D is computed by; it has no gradient. And the gradient of a
    3x3 kernel takes up to three times as long as the convolution: see `kernel_gradient`.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None) -> tf.Tensor:
        token = _training.set(bool(training) and self.trainable)
        try:
            return super().call(inputs)
        finally:
            _training.reset(token)

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        """Args: inputs: (batch, height, width, channels). kernel: (side, side, channels, filters)."""
        side, _, channels, filters = kernel.shape
        if inputs.dtype == tf.float32 and onednn_without_avx512():
            copies = side > 1 or self.use_bias  # oneDNN's, of the patches, or fused with the addition of the bias
            if _one_image.get() and copies and channels > FEW:
                return self._by_eigen(inputs, kernel)
            plain = (self.strides, self.dilation_rate, self.padding) == ((1, 1), (1, 1), "same")
            if _training.get() and side == 3 and plain and min(channels, filters) >= MANY:
                return convolved(inputs, tf.convert_to_tensor(kernel))
        return super().convolution_op(inputs, kernel)

    def _by_eigen(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.raw_ops.Conv(
            input=inputs,
            filter=kernel,
            strides=[1, *self.strides, 1],
            padding=self.padding.upper(),
            dilations=[1, *self.dilation_rate, 1],
        )


@tf.custom_gradient
def convolved(x: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """The convolution with zeros around the images, whose gradient in the kernel is `kernel_gradient`.

    Args:
        x: (batch, height, width, channels) float32.
        kernel: (side, side, channels, filters) float32, `side` odd.

    Returns:
        (batch, height, width, filters) float32.
    """

    def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        of_x = tf.raw_ops.Conv2DBackpropInput(
            input_sizes=tf.shape(x), filter=kernel, out_backprop=upstream, strides=[1] * 4, padding="SAME"
        )
        return of_x, kernel_gradient(x, upstream, kernel.shape[0])

    return tf.nn.conv2d(x, kernel, 1, "SAME"), gradient


def kernel_gradient(x: tf.Tensor, upstream: tf.Tensor, side: int) -> tf.Tensor:
    """The gradient of a convolution in its kernel: for each place in the kernel, a product of matrices for each image.

    Their rows are the image's pixels: x, moved by that place, and the gradient in the result. Images are summed over at
    the end, so that threads have a product each.

    Args:
        x: (batch, height, width, channels), what was convolved with zeros around it.
        upstream: (batch, height, width, filters), the gradient in the result.
        side: of the kernel, odd.

    Returns:
        (side, side, channels, filters).
    """
    channels, filters, around = x.shape[-1], upstream.shape[-1], [side // 2] * 2
    batch, height, width = tf.unstack(tf.shape(x)[:3])
    padded = tf.pad(x, [[0, 0], around, around, [0, 0]])
    rows = tf.reshape(upstream, [batch, height * width, filters])

    def at(top: int, left: int) -> tf.Tensor:
        moved = padded[:, top : top + height, left : left + width]
        products = tf.matmul(tf.reshape(moved, [batch, height * width, channels]), rows, transpose_a=True)
        return tf.reduce_sum(products, axis=0)  # (channels, filters)

    places = tf.stack([at(top, left) for top in range(side) for left in range(side)])
    return tf.reshape(places, [side, side, channels, filters])
