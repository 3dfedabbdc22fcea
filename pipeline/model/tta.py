"""Test-time augmentation: scaled and mirrored views of an image whose predictions are averaged (`evaluate.*`)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.data import decode
from pipeline.model.sliding_window import Network, sliding_window_logits

# (batch, height, width, 3) uint8 at another size, (2,) int32: `pipeline.data.decode.resize_image`, or what replaces it
# in a file that other programs run
Resize = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


@dataclass(frozen=True)
class Views:
    """Which views of an image the network predicts: one for each scale and, with `flip`, its mirror image.

    Attributes:
        multiple: the sides of the network's input must be multiples of this number.
        scales: sizes of the views, as shares of the image's size.
        flip: each view is also predicted mirrored from left to right.
        window: side of the sliding windows that a view is predicted in; None: the whole view at once.
    """

    multiple: int
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: int | None = None

    @classmethod
    def of(cls, config: Config) -> "Views":
        """The views that a configuration asks for."""
        evaluate = config.evaluate
        return cls(2**config.model.depth, tuple(evaluate.scales), evaluate.flip, evaluate.window)

    @property
    def single(self) -> bool:
        """Whether the image itself is the only view."""
        return self.scales == (1.0,) and not self.flip

    def images(self, images: tf.Tensor, resize: Resize) -> Iterator[tuple[tf.Tensor, bool]]:
        """Each view of images of one size, (batch, height, width, 3) uint8, and whether it is mirrored.

        The views are uint8 images too; their sizes differ by `scales`.
        """
        size = tf.cast(tf.shape(images)[1:3], tf.float32)
        for scale in self.scales:
            view = images
            if scale != 1:
                view = resize(images, tf.maximum(tf.cast(tf.round(size * scale), tf.int32), 1))
            yield view, False
            if self.flip:
                yield view[:, :, ::-1], True

    def logits(self, network: Network, padded: tf.Tensor) -> tf.Tensor:
        """Logits (batch, height, width, classes) of a padded view, (batch, height, width, 3), at once or by windows."""
        if self.window is None:
            return network(padded)
        return sliding_window_logits(network, padded, self.window)

    def averaged(
        self, network: Network, images: tf.Tensor, original_size: tf.Tensor, resize: Resize = decode.resize_image
    ) -> tf.Tensor:
        """The logarithm of the mean of the views' probabilities at the images' original size.

        Args:
            images: (batch, height, width, 3) uint8.
            original_size: (2,) int32, height and width.

        Returns:
            (batch, original height, original width, classes) float32 logits, whose softmax is the mean of the
            probabilities.
        """
        log_probabilities = []
        for view, mirrored in self.images(images, resize):
            height, width = tf.unstack(tf.shape(view)[1:3])
            logits = self.logits(network, decode.pad_reflect(view, self.multiple))[:, :height, :width]
            logits = tf.image.resize(logits[:, :, ::-1] if mirrored else logits, original_size)
            log_probabilities.append(tf.nn.log_softmax(logits))
        return tf.reduce_logsumexp(tf.stack(log_probabilities), axis=0) - tf.math.log(float(len(log_probabilities)))
