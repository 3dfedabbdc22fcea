"""The training loss: cross-entropy (plain, weighted or focal) and soft Dice, over valid pixels only."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from pipeline.config import LossConfig
from pipeline.data.palette import VOID

PixelLoss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]  # of labels (...) int32 and logits (..., classes), -log p (...)


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
        loss = self._weighted(y_true, y_pred, tf.nn.sparse_softmax_cross_entropy_with_logits)
        # Keras adds up losses and gradients of the devices that share a batch, and divides only what it reduced itself.
        return loss / tf.distribute.get_strategy().num_replicas_in_sync

    def score(self, mask: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """The same number where nobody asks for its gradient, in half the time."""
        return self._weighted(mask, logits, negative_log_probability)

    def _weighted(self, mask: tf.Tensor, logits: tf.Tensor, pixel_loss: PixelLoss) -> tf.Tensor:
        mask, logits = tf.cast(mask, tf.int32), tf.cast(logits, tf.float32)
        loss = tf.constant(0.0)
        if self.config.cross_entropy:
            weights = tf.constant(self.class_weights)
            entropy = cross_entropy(mask, logits, weights, self.config.focal_gamma, pixel_loss)
            loss += self.config.cross_entropy * entropy
        if self.config.dice:
            loss += self.config.dice * dice(mask, logits)
        return loss


def cross_entropy(
    mask: tf.Tensor,
    logits: tf.Tensor,
    class_weights: tf.Tensor,
    focal_gamma: float = 0.0,
    pixel_loss: PixelLoss = tf.nn.sparse_softmax_cross_entropy_with_logits,
) -> tf.Tensor:
    """The mean of -w (1 - p)**gamma log p over the valid pixels of the batch, divided by the sum of their weights w.

    p is the probability of the true class. With gamma above 0 this is the focal loss (Lin et al. 2017, equation 5).

    Args:
        mask: (batch, height, width) int32, 255 is void.
        logits: (batch, height, width, classes) float32.
        class_weights: (classes,) float32.
        pixel_loss: what gives -log p.
    """
    valid = tf.not_equal(mask, VOID)
    labels = tf.where(valid, mask, 0)  # an index in range; its pixel counts nothing
    entropy = pixel_loss(labels, logits)  # (batch, height, width)
    if focal_gamma:
        # 1 - p from log p without cancellation; its power has no gradient at exactly 0, hence the floor.
        entropy *= tf.maximum(-tf.math.expm1(-entropy), 1e-7) ** focal_gamma
    weights = tf.where(valid, tf.gather(class_weights, labels), 0.0)
    total, weight = _over_devices(tf.reduce_sum(weights * entropy), tf.reduce_sum(weights))
    return tf.math.divide_no_nan(total, weight)


def negative_log_probability(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """-log p of each pixel's true class, (batch, height, width) float32, not below 0.

    TensorFlow's own operation computes its gradient with it, wanted or not, and takes twice as long.
    """
    below = logits - tf.reduce_max(logits, axis=-1, keepdims=True)
    return tf.math.log(tf.reduce_sum(tf.exp(below), axis=-1)) - tf.gather(below, labels, batch_dims=3)


def dice(mask: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """1 - soft Dice coefficient, averaged over the classes present in the batch's masks.

    For each class 2 sum(p g) / (sum(p) + sum(g)) over all valid pixels of the batch, with probabilities p and truth g;
    Milletari et al. 2016 (section 3) have sums of squares below.

    Args:
        mask: (batch, height, width) int32, 255 is void.
        logits: (batch, height, width, classes) float32.
    """
    classes = logits.shape[-1]
    valid = tf.cast(tf.not_equal(mask, VOID), tf.float32)[..., tf.newaxis]
    truth = tf.one_hot(tf.where(mask == VOID, -1, mask), classes)  # void is in no class
    probability = tf.nn.softmax(logits) * valid
    sums = (tf.reduce_sum(values, (0, 1, 2)) for values in (probability * truth, probability, truth))
    both, probable, true = _over_devices(*sums)  # (classes,) each
    coefficient = tf.math.divide_no_nan(2 * both, probable + true)
    present = tf.cast(true > 0, tf.float32)
    return tf.math.divide_no_nan(tf.reduce_sum(present * (1 - coefficient)), tf.reduce_sum(present))


def _over_devices(*sums: tf.Tensor) -> list[tf.Tensor]:
    """Sums over the whole batch from those over a device's share of it: its pixels count alike wherever they are."""
    device = tf.distribute.get_replica_context()
    if device is None or device.num_replicas_in_sync == 1:
        return list(sums)
    return device.all_reduce(tf.distribute.ReduceOp.SUM, list(sums))
