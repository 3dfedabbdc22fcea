"""The training loss: cross-entropy (plain, weighted or focal) and soft Dice, over valid pixels only.

At full resolution and with many classes the loss takes a tenth of a step or more, nearly all of it in passes over the
logits. So both parts are made of two things that one function takes from the logits and brings back to them, with as
few passes as possible: each pixel's -log p, and each class's sum of p.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.config.schema import LossConfig
from pipeline.data.palette import VOID


class SegmentationLoss(keras.losses.Loss):
    """The weighted sum of cross-entropy and Dice that the configuration asks for.

    Called with masks (batch, height, width) of class indices and logits (batch, height, width, classes), it gives one
    float32 scalar. Void pixels (255) have no influence on it and get no gradient; a batch of void alone costs 0.
    """

    def __init__(self, config: LossConfig, class_weights: np.ndarray) -> None:
        """Args: class_weights: (classes,) float32, used in the cross-entropy."""
        super().__init__(name="segmentation", reduction="sum")  # `call` gives a scalar
        self.config = config
        self.class_weights = class_weights

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        # Keras adds up losses and gradients of the devices that share a batch, and divides only what it reduced itself.
        return self.score(y_true, y_pred) / tf.distribute.get_strategy().num_replicas_in_sync

    def score(self, mask: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """The loss of a batch, on whichever devices its pixels are."""
        width, classes = tf.shape(mask)[-1], logits.shape[-1]
        mask = tf.reshape(tf.cast(mask, tf.int32), [-1, width])  # (rows, width)
        logits = tf.reshape(tf.cast(logits, tf.float32), [-1, width, classes])
        valid = tf.cast(mask != VOID, tf.float32)
        labels = tf.where(mask != VOID, mask, 0)  # an index in range; its pixel counts nothing
        if not self.config.dice:
            return self.config.cross_entropy * self._cross_entropy(negative_log(labels, logits), labels, valid)
        entropy, probable = negative_log_and_sums(labels, valid, logits)
        loss = self.config.dice * dice(entropy, probable, labels, valid)
        if self.config.cross_entropy:
            loss += self.config.cross_entropy * self._cross_entropy(entropy, labels, valid)
        return loss

    def _cross_entropy(self, entropy: tf.Tensor, labels: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        weights = valid * tf.gather(tf.constant(self.class_weights), labels)
        return cross_entropy(entropy, weights, self.config.focal_gamma)


def cross_entropy(entropy: tf.Tensor, weights: tf.Tensor, focal_gamma: float) -> tf.Tensor:
    """The mean of -w (1 - p)**gamma log p over the pixels of the batch, divided by the sum of their weights w.

    p is the probability of the true class. With gamma above 0 this is the focal loss (Lin et al. 2017, equation 5).

    Args:
        entropy: (rows, width) float32, -log p.
        weights: (rows, width) float32, 0 where a pixel is void.
    """
    if focal_gamma:
        # 1 - p from log p without cancellation; its power has no gradient at exactly 0, hence the floor.
        entropy *= tf.maximum(-tf.math.expm1(-entropy), 1e-7) ** focal_gamma
    total, weight = _over_devices(tf.reduce_sum(weights * entropy), tf.reduce_sum(weights))
    return tf.math.divide_no_nan(total, weight)


def dice(entropy: tf.Tensor, probable: tf.Tensor, labels: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """1 - soft Dice coefficient, averaged over the classes present in the batch's masks.

    For each class 2 sum(p g) / (sum(p) + sum(g)) over all valid pixels of the batch, with probabilities p and truth g;
    Milletari et al. 2016 (section 3) have sums of squares below.

    Args:
        entropy: (rows, width) float32, -log p of the true class.
        probable: (classes,) float32, sum(p) over the valid pixels.
        labels: (rows, width) int32.
        valid: (rows, width) float32, 0 where a pixel is void, else 1.
    """
    truth = tf.one_hot(labels, probable.shape[0])
    both, true = tf.unstack(_sums_by_class(tf.stack([valid * tf.exp(-entropy), valid], axis=1), truth))
    both, probable, true = _over_devices(both, probable, true)
    coefficient = tf.math.divide_no_nan(2 * both, probable + true)
    present = tf.cast(true > 0, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(present * (1 - coefficient)), tf.reduce_sum(present))


@tf.custom_gradient
def negative_log(labels: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tuple[Any, ...]]]:
    """-log p of each pixel's true class, (rows, width) float32, not below 0.

    Args:
        labels: (rows, width) int32.
        logits: (rows, width, classes) float32.
    """
    powers, total, entropy = _softmax(labels, logits)

    def gradient(upstream: tf.Tensor) -> tuple[Any, ...]:
        return None, powers * (upstream / total)[..., tf.newaxis] - _at(labels, upstream, logits)

    return entropy, gradient


@tf.custom_gradient
def negative_log_and_sums(
    labels: tf.Tensor, valid: tf.Tensor, logits: tf.Tensor
) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable[..., tuple[Any, ...]]]:
    """`negative_log`, and each class's sum of p over the valid pixels, (classes,) float32.

    With u upstream of -log p, a of the sums, v for valid and g for the truth, the logits of a pixel get
    u (p - g) + v p (a - sum(p a)) = p (v a + u - v sum(p a)) - u g.
    """
    powers, total, entropy = _softmax(labels, logits)
    share = valid / total  # p = powers / total, which is never written down
    (sums,) = tf.unstack(_sums_by_class(share[:, tf.newaxis], powers))

    def gradient(upstream: tf.Tensor, of_sums: tf.Tensor) -> tuple[Any, ...]:
        rest = upstream / total - share * tf.linalg.matvec(powers, of_sums) / total
        factors = tf.stack([share, rest], axis=-1) @ tf.stack([of_sums, tf.ones_like(of_sums)])
        return None, None, powers * factors - _at(labels, upstream, logits)

    return (entropy, sums), gradient


def _softmax(labels: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Powers (rows, width, classes) and their sums (rows, width), whose quotient is p; -log p of the true class."""
    below = logits - tf.reduce_max(logits, axis=-1, keepdims=True)
    powers = tf.exp(below)
    total = tf.reduce_sum(powers, axis=-1)
    return powers, total, tf.math.log(total) - tf.gather(below, labels, batch_dims=2)


def _at(labels: tf.Tensor, values: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """(rows, width, classes) float32 with a pixel's value at its label, else 0."""
    return tf.one_hot(labels, logits.shape[-1]) * values[..., tf.newaxis]


def _sums_by_class(weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Sums over all pixels of values (rows, width, classes) weighted by (rows, n, width): (n, classes).

    Row by row first: to multiply matrices is the fastest way to add here, and rows are many enough for a GPU.
    """
    return tf.reduce_sum(weights @ values, axis=0)


def _over_devices(*sums: tf.Tensor) -> list[tf.Tensor]:
    """Sums over the whole batch from those over a device's share of it: its pixels count alike wherever they are."""
    device = tf.distribute.get_replica_context()
    if device is None or device.num_replicas_in_sync == 1:
        return list(sums)
    return device.all_reduce(tf.distribute.ReduceOp.SUM, list(sums))
