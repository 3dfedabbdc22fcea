"""Batch normalisation by one fused TensorFlow operation instead of a dozen separate ones."""

from collections.abc import Callable

import keras
import tensorflow as tf

from pipeline.model.convolution import predicts_one_image
from pipeline.runtime.kernels import onednn_without_avx512


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer over the last axis of (batch, height, width, channels), with the same weights and the same results.

    Keras composes it from moments, differences and products, each of which reads and writes all features; TensorFlow's
    fused operation does so twice. With op determinism enabled both are deterministic, on GPUs too.
    """

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: None = None) -> tf.Tensor:
        x = tf.cast(inputs, self.compute_dtype)
        scale, offset = (tf.convert_to_tensor(weight.value) for weight in (self.gamma, self.beta))
        if not (training and self.trainable):
            mean, variance = (tf.convert_to_tensor(weight.value) for weight in (self.moving_mean, self.moving_variance))
            if training:  # this layer is frozen, but those before it are trained
                return self._frozen(x, scale, offset, mean, variance)
            if predicts_one_image():
                x = _unfused(x)
            return self._fused(x, scale, offset, mean, variance, is_training=False)[0]
        unused = tf.zeros([0])
        y, mean, variance = self._fused(x, scale, offset, unused, unused, is_training=True)[:3]
        count = tf.cast(tf.size(x) / tf.shape(x)[-1], tf.float32)
        # The operation returns the unbiased variance, Keras uses the biased one. Of a single value GPUs return NaN.
        variance = tf.math.multiply_no_nan(variance, (count - 1) / count)
        for moving, batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + batch * (1 - self.momentum))
        return y

    def _frozen(
        self, x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor
    ) -> tf.Tensor:
        """Normalise by the moving statistics, where the fused operation's gradient has no deterministic GPU kernel."""

        @tf.custom_gradient
        def normalized(x: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
            def gradient(y_gradient: tf.Tensor) -> tf.Tensor:
                factor = scale * tf.math.rsqrt(variance + self.epsilon)  # (channels,)
                return tf.cast(tf.cast(y_gradient, tf.float32) * factor, x.dtype)

            x = _unfused(x) if onednn_without_avx512() else x
            return self._fused(x, scale, offset, mean, variance, is_training=False)[0], gradient

        return normalized(x)

    def _fused(
        self, x: tf.Tensor, scale: tf.Tensor, offset: tf.Tensor, mean: tf.Tensor, variance: tf.Tensor, is_training: bool
    ) -> tuple[tf.Tensor, ...]:
        # In bfloat16 a CPU takes ten times as long where the channels are not a multiple of its vector length.
        slow = x.dtype == tf.bfloat16 and x.shape[-1] % 16 != 0
        y, *statistics = tf.raw_ops.FusedBatchNormV3(
            x=tf.cast(x, tf.float32) if slow else x, scale=scale, offset=offset, mean=mean, variance=variance,
            epsilon=self.epsilon, is_training=is_training,
        )  # fmt: skip
        return tf.cast(y, x.dtype), *statistics


def _unfused(x: tf.Tensor) -> tf.Tensor:
    """The same tensor, with an operation that costs nothing between a convolution and the normalisation.

    TensorFlow would fuse the two. Without AVX-512 oneDNN has no fast kernel for both: they take ten times as long.
    """
    return tf.ensure_shape(x, x.shape)
