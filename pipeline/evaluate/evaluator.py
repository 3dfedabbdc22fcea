"""Exact scores of a split: an int64 confusion matrix at the images' own resolution, in validation as in test."""

import math
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.data.palette import VOID
from pipeline.data.room import scoring_batch
from pipeline.data.voc import Example
from pipeline.data.whole_images import SIGNATURE, WholeImages
from pipeline.evaluate.metrics import Scores, intersection_and_union
from pipeline.model.inference import class_indices, predict_logits
from pipeline.model.losses import SegmentationLoss
from pipeline.model.tta import Views
from pipeline.runtime.limits import processors

# Called with each example and its predicted class indices, (height, width) uint8 at the image's own size.
OnPrediction = Callable[[Example, np.ndarray], None]


def every(*callbacks: OnPrediction) -> OnPrediction:
    """A callback that calls several, in their order."""

    def call(example: Example, prediction: np.ndarray) -> None:
        for callback in callbacks:
            callback(example, prediction)

    return call


def confusion_matrix(mask: tf.Tensor, prediction: tf.Tensor, classes: int) -> tf.Tensor:
    """Confusion matrix of one image over its valid pixels, (classes, classes) int64: rows true, columns predicted.

    For TensorFlow graphs; `pipeline.evaluate.metrics.image_confusion_matrix` does the same to arrays.

    Args:
        mask: integer tensor of class indices, 255 where void.
        prediction: integer tensor of the same shape, with indices below `classes`.
    """
    bins = classes**2
    pairs = tf.cast(mask, tf.int32) * classes + tf.cast(prediction, tf.int32)
    pairs = tf.where(tf.equal(mask, VOID), bins, pairs)  # void pixels have a bin of their own, dropped below
    with tf.device("CPU:0"):  # on a GPU, bincount raises under op determinism
        counts = tf.math.bincount(tf.reshape(pairs, [-1]), minlength=bins + 1, maxlength=bins + 1, dtype=tf.int64)
    return tf.reshape(counts[:bins], (classes, classes))


class BatchScorer:
    """The compiled function that scores a batch of whole images with the weights that the network has at each call.

    It serves every split: tracing it takes longer than scoring a few images.
    """

    def __init__(self, network: keras.Model, loss: SegmentationLoss, config: Config) -> None:
        """Args:
        network: (batch, height, width, 3) uint8 -> (batch, height, width, classes) float32 logits.
        loss: scored for each image, next to the confusion matrix.
        config: how images are viewed.
        """
        self.classes, self.loss = network.output_shape[-1], loss
        self._network, self._views = network, Views.of(config)
        self._score = tf.function(self._score_image_by_image, input_signature=SIGNATURE[1:], autograph=False)

    def __call__(self, *batch: tf.Tensor) -> tuple[np.ndarray, ...]:
        """Score the images of a batch.

        Args:
            batch: what `pipeline.data.whole_images.WholeImages` yields, without the indices.

        Returns:
            confusion matrices: (batch, classes, classes) int64.
            losses: (batch,) float32.
            predictions: (batch, tall, wide) uint8 class indices, each image's at the top left.
        """
        return tuple(part.numpy() for part in self._score(*batch))

    def _score_image_by_image(self, *batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        def score(image: tuple[tf.Tensor, ...]) -> tuple[tf.Tensor, ...]:
            padded, working, filled_mask, own = image
            mask = filled_mask[: own[0], : own[1]]
            logits = predict_logits(self._network, padded, working, own, self._views)
            prediction = class_indices(logits)
            counts = confusion_matrix(mask, prediction, self.classes)
            # Padded to the common size of the batch's masks again, so that predictions can be stacked.
            filled = tf.pad(prediction, [[0, side] for side in tf.unstack(tf.shape(filled_mask) - own)])
            return counts, self.loss.score(mask[tf.newaxis], logits[tf.newaxis]), filled

        return tf.map_fn(score, batch, fn_output_signature=(tf.int64, tf.float32, tf.uint8), parallel_iterations=2)


class Evaluator:
    """Scores one split."""

    def __init__(self, scorer: BatchScorer, examples: Sequence[Example], sizes: np.ndarray, config: Config) -> None:
        """Prepare the stream of images.

        Args:
            sizes: (examples, 2) height and width of the images before they are scaled.
            config: how images are scaled and batched.
        """
        self.examples = examples
        threads = config.threads if isinstance(config.threads, int) else processors()
        self.stream = WholeImages(
            examples,
            sizes,
            long_side=config.long_side,
            multiple=2**config.model.depth,
            batch_size=scoring_batch(sizes, config.evaluate.batch_size, threads),
            threads=threads,
        )
        self._score_batch = scorer

    def __call__(
        self, on_prediction: OnPrediction | None = None, progress: Callable[[int, int], None] | None = None
    ) -> Scores:
        """Score the whole split.

        Args:
            on_prediction: called once for each image, in the order of the stream.
            progress: called after each batch with the number of images done and their total.
        """
        total = np.zeros([self._score_batch.classes] * 2, np.int64)
        losses, pixels, images = [], [], {}
        for indices, *batch in self.stream:
            counts, batch_losses, predictions = self._score_batch(*batch)
            total += counts.sum(axis=0)
            losses.extend(batch_losses.tolist())
            pixels.extend(counts.sum(axis=(1, 2)).tolist())
            for index, image, prediction, (height, width) in zip(
                indices.numpy(), counts, predictions, batch[3].numpy(), strict=True
            ):
                example = self.examples[index]
                if image.any():
                    images[example.id] = np.stack(intersection_and_union(image))
                if on_prediction is not None:
                    on_prediction(example, prediction[:height, :width])
            if progress is not None:
                progress(len(losses), len(self.examples))
        # The batch size changes the order of the stream; the sum of fsum is the same in any order.
        loss = math.fsum(value * weight for value, weight in zip(losses, pixels, strict=True))
        return Scores(total, loss / sum(pixels) if any(pixels) else math.nan, images)
