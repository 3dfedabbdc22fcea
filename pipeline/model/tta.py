"""Several views of one image, mirrored, scaled or by windows, whose predictions are joined (`evaluate.*`)."""

from collections.abc import Iterator
from dataclasses import dataclass

import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.data import decode
from pipeline.model.sliding_window import Network, by_windows


@dataclass(frozen=True)
class Views:
    """What an image is looked at as: at each scale, as it is and, with `flip`, mirrored; whole or by windows.

    `multiple` is what the network's sides must be multiples of.
    """

    multiple: int
    scales: tuple[float, ...] = (1.0,)
    flip: bool = False
    window: int | None = None

    @classmethod
    def of(cls, config: Config) -> "Views":
        """Those of a configuration."""
        evaluate = config.evaluate
        return cls(2**config.model.depth, tuple(evaluate.scales), evaluate.flip, evaluate.window)

    @property
    def plain(self) -> bool:
        """Whether the one view is the image itself."""
        return self.scales == (1.0,) and not self.flip

    def images(self, image: tf.Tensor) -> Iterator[tuple[tf.Tensor, bool]]:
        """Each view of an image (height, width, 3) uint8, of its own size, and whether it is mirrored."""
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        for scale in self.scales:
            view = image
            if scale != 1:
                scaled = tf.image.resize(
                    image, tf.maximum(tf.cast(tf.round(size * scale), tf.int32), 1), antialias=True
                )
                view = tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8)
            yield view, False
            if self.flip:
                yield view[:, ::-1], True

    def logits(self, network: Network, padded: tf.Tensor) -> tf.Tensor:
        """Logits (1, height, width, classes) of one padded view (height, width, 3) uint8, whole or by windows."""
        return network(padded[tf.newaxis]) if self.window is None else by_windows(network, padded, self.window)

    def joined(self, network: Network, image: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        """The logarithm of the mean of the views' probabilities at the image's own size.

        Args:
            image: (height, width, 3) uint8.
            own: (2,) int32.

        Returns:
            (own height, own width, classes) float32; a softmax gives back the mean.
        """
        logarithms = []
        for view, mirrored in self.images(image):
            height, width = tf.unstack(tf.shape(view)[:2])
            logits = self.logits(network, decode.pad_reflect(view, self.multiple))[:, :height, :width]
            logits = tf.image.resize(logits[:, :, ::-1] if mirrored else logits, own)[0]
            logarithms.append(tf.nn.log_softmax(logits))
        return tf.reduce_logsumexp(tf.stack(logarithms), axis=0) - tf.math.log(float(len(logarithms)))
