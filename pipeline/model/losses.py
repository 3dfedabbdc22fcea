"""The training loss: cross-entropy (plain, weighted or focal) and soft Dice, over valid pixels only.

At full resolution and with many classes the loss takes a tenth of a training step or more, nearly all of it in passes
over the logits. Both parts are therefore computed from two quantities, each pixel's -log p and each class's sum of p,
and one function with a hand-written gradient computes both in as few passes over the logits as possible.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from pipeline.config.schema import LossConfig
from pipeline.data.palette import VOID


class SegmentationLoss(keras.losses.Loss):
    """The weighted sum of cross-entropy and Dice loss that the configuration asks for.

    Called with masks (batch, height, width) of class indices and logits (batch, height, width, classes), it returns a
    float32 scalar. Void pixels (255) do not influence it and get no gradient; a batch of void pixels alone has loss 0.
    """

    def __init__(self, config: LossConfig, class_weights: np.ndarray) -> None:
        """Args:
        class_weights: (classes,) float32, used in the cross-entropy.
        """
        super().__init__(name="segmentation", reduction="sum")  # `call` returns a scalar
        self.config = config
        self.class_weights = class_weights

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        # Keras sums losses and gradients over the replicas that share a batch, and divides only what it reduced itself.
        return self.score(y_true, y_pred) / tf.distribute.get_strategy().num_replicas_in_sync

    def score(self, mask: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """The loss of a whole batch, however its images are distributed over devices.

        Args:
            mask: (batch, height, width) of any integer type.
            logits: (batch, height, width, classes) of any float type.
        """
        width, classes = tf.shape(mask)[-1], logits.shape[-1]
        mask = tf.reshape(tf.cast(mask, tf.int32), [-1, width])  # (rows, width)
        logits = tf.reshape(tf.cast(logits, tf.float32), [-1, width, classes])
        valid = tf.cast(mask != VOID, tf.float32)
        labels = tf.where(mask != VOID, mask, 0)  # any valid index: void pixels have weight 0
        if not self.config.dice:
            return self.config.cross_entropy * self._cross_entropy(negative_log(labels, logits), labels, valid)
        entropy, probability_sums = negative_log_and_sums(labels, valid, logits)
        loss = self.config.dice * dice(entropy, probability_sums, labels, valid)
        if self.config.cross_entropy:
            loss += self.config.cross_entropy * self._cross_entropy(entropy, labels, valid)
        return loss

    def _cross_entropy(self, entropy: tf.Tensor, labels: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
        weights = valid * tf.gather(tf.constant(self.class_weights), labels)
        return cross_entropy(entropy, weights, self.config.focal_gamma)


def cross_entropy(entropy: tf.Tensor, weights: tf.Tensor, focal_gamma: float) -> tf.Tensor:
    """The sum of -w (1 - p)**gamma log p over the pixels of the batch, divided by the sum of their weights w.

    p is the probability of the true class. With gamma above 0 this is the focal loss (Lin et al. 2017, equation 5).

    Args:
        entropy: (rows, width) float32, -log p.
        weights: (rows, width) float32, 0 where a pixel is void.
    """
    if focal_gamma:
        # 1 - p from log p without cancellation. Its power has no finite gradient at 0, hence the lower bound.
        entropy *= tf.maximum(-tf.math.expm1(-entropy), 1e-7) ** focal_gamma
    total, weight = _over_replicas(tf.reduce_sum(weights * entropy), tf.reduce_sum(weights))
    return tf.math.divide_no_nan(total, weight)


def dice(entropy: tf.Tensor, probability_sums: tf.Tensor, labels: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """1 - soft Dice coefficient, averaged over the classes present in the batch's masks.

    The coefficient of a class is 2 sum(p g) / (sum(p) + sum(g)) over all valid pixels of the batch, with probabilities
    p and one-hot truth g. Milletari et al. 2016 (section 3) have sums of squares in the denominator instead.

    Args:
        entropy: (rows, width) float32, -log p of the true class.
        probability_sums: (classes,) float32, sum(p) over the valid pixels.
        labels: (rows, width) int32.
        valid: (rows, width) float32, 0 where a pixel is void, else 1.
    """
    truth = tf.one_hot(labels, probability_sums.shape[0])  # (rows, width, classes)
    overlap, truth_sums = tf.unstack(_sums_by_class(tf.stack([valid * tf.exp(-entropy), valid], axis=1), truth))
    overlap, probability_sums, truth_sums = _over_replicas(overlap, probability_sums, truth_sums)
    coefficient = tf.math.divide_no_nan(2 * overlap, probability_sums + truth_sums)
    present = tf.cast(truth_sums > 0, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(present * (1 - coefficient)), tf.reduce_sum(present))


@tf.custom_gradient
def negative_log(labels: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, Callable[..., tuple[Any, ...]]]:
    """-log p of each pixel's true class, (rows, width) float32, at least 0.

    Args:
        labels: (rows, width) int32.
        logits: (rows, width, classes) float32.
    """
    exponentials, total, entropy = _softmax(labels, logits)

    def gradient(upstream: tf.Tensor) -> tuple[Any, ...]:
        return None, exponentials * (upstream / total)[..., tf.newaxis] - _at(labels, upstream, logits)

    return entropy, gradient


@tf.custom_gradient
def negative_log_and_sums(
    labels: tf.Tensor, valid: tf.Tensor, logits: tf.Tensor
) -> tuple[tuple[tf.Tensor, tf.Tensor], Callable[..., tuple[Any, ...]]]:
    """`negative_log`, and each class's sum of p over the valid pixels, (classes,) float32.

    With u the upstream gradient of -log p, a that of the sums, v for valid and g for the one-hot truth, the gradient of
    a pixel's logits is u (p - g) + v p (a - sum(p a)) = p (v a + u - v sum(p a)) - u g.

    Args:
        labels: (rows, width) int32.
        valid: (rows, width) float32, 0 where a pixel is void, else 1.
        logits: (rows, width, classes) float32.
    """
    exponentials, total, entropy = _softmax(labels, logits)
    share = valid / total  # p = exponentials / total is never materialised
    (sums,) = tf.unstack(_sums_by_class(share[:, tf.newaxis], exponentials))

    def gradient(upstream: tf.Tensor, upstream_of_sums: tf.Tensor) -> tuple[Any, ...]:
        rest = upstream / total - share * tf.linalg.matvec(exponentials, upstream_of_sums) / total
        factors = tf.stack([share, rest], axis=-1) @ tf.stack([upstream_of_sums, tf.ones_like(upstream_of_sums)])
        return None, None, exponentials * factors - _at(labels, upstream, logits)

    return (entropy, sums), gradient


def _softmax(labels: tf.Tensor, logits: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """A softmax that is not divided yet, and -log p of the true class.

    Returns:
        Exponentials (rows, width, classes), their sum over the classes (rows, width), and -log p (rows, width). The
        quotient of the first two is p.
    """
    shifted = logits - tf.reduce_max(logits, axis=-1, keepdims=True)  # no overflow
    exponentials = tf.exp(shifted)
    total = tf.reduce_sum(exponentials, axis=-1)
    return exponentials, total, tf.math.log(total) - tf.gather(shifted, labels, batch_dims=2)


def _at(labels: tf.Tensor, values: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """(rows, width, classes) float32: a pixel's value at its label, 0 elsewhere."""
    return tf.one_hot(labels, logits.shape[-1]) * values[..., tf.newaxis]


def _sums_by_class(weights: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
    """Sums over all pixels of values (rows, width, classes), weighted by (rows, n, width): (n, classes).

    Each row is summed first, by a matrix product: it is the fastest way to add here, and there are enough rows to
    occupy a GPU.
    """
    return tf.reduce_sum(weights @ values, axis=0)


def _over_replicas(*sums: tf.Tensor) -> list[tf.Tensor]:
    """Sums over the whole batch from the sums over each replica's share, so that all pixels of a batch count alike."""
    replica = tf.distribute.get_replica_context()
    if replica is None or replica.num_replicas_in_sync == 1:
        return list(sums)
    return replica.all_reduce(tf.distribute.ReduceOp.SUM, list(sums))
