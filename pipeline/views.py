"""Several views of one picture, mirrored, scaled or by windows, whose predictions are joined (`evaluate.*`)."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import tensorflow as tf

from pipeline.config import Config
from pipeline.data import decode

Network = Callable[[tf.Tensor], tf.Tensor]  # (1, height, width, 3) uint8 to (1, height, width, classes) logits


@dataclass(frozen=True)
class Views:
    """What a picture is looked at as: at each scale, as it is and, with `flip`, mirrored; whole or by windows.

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
        """Whether the one view is the picture itself."""
        return self.scales == (1.0,) and not self.flip

    def pictures(self, picture: tf.Tensor) -> Iterator[tuple[tf.Tensor, bool]]:
        """Each view of a picture (height, width, 3) uint8, of its own size, and whether it is mirrored."""
        size = tf.cast(tf.shape(picture)[:2], tf.float32)
        for scale in self.scales:
            view = picture
            if scale != 1:
                scaled = tf.image.resize(
                    picture, tf.maximum(tf.cast(tf.round(size * scale), tf.int32), 1), antialias=True
                )
                view = tf.cast(tf.clip_by_value(tf.round(scaled), 0, 255), tf.uint8)
            yield view, False
            if self.flip:
                yield view[:, ::-1], True

    def joined(self, network: Network, picture: tf.Tensor, own: tf.Tensor) -> tf.Tensor:
        """The logarithm of the mean of the views' probabilities at the picture's own size.

        Args:
            picture: (height, width, 3) uint8.
            own: (2,) int32.

        Returns:
            (own height, own width, classes) float32; a softmax gives back the mean.
        """
        logarithms = []
        for view, mirrored in self.pictures(picture):
            height, width = tf.unstack(tf.shape(view)[:2])
            logits = self.by_windows(network, decode.pad_reflect(view, self.multiple))[:, :height, :width]
            logits = tf.image.resize(logits[:, :, ::-1] if mirrored else logits, own)[0]
            logarithms.append(tf.nn.log_softmax(logits))
        return tf.reduce_logsumexp(tf.stack(logarithms), axis=0) - tf.math.log(float(len(logarithms)))

    def by_windows(self, network: Network, padded: tf.Tensor) -> tf.Tensor:
        """Logits of a padded picture (height, width, 3): the mean of those of windows that overlap by half.

        A side that is no longer than the window is taken whole.
        """
        if self.window is None:
            return network(padded[tf.newaxis])
        size = tf.shape(padded)[:2]
        sides = tf.minimum(size, self.window)
        steps = [_positions(size[axis], sides[axis]) for axis in (0, 1)]
        places = tf.reshape(tf.stack(tf.meshgrid(*steps, indexing="ij"), axis=-1), (-1, 2))  # (windows, 2)

        def add(number: tf.Tensor, total: tf.Tensor, count: tf.Tensor) -> tuple[tf.Tensor, ...]:
            (top, left), (height, width) = tf.unstack(places[number]), tf.unstack(sides)
            logits = network(padded[tf.newaxis, top : top + height, left : left + width])
            around = [[0, 0], [top, size[0] - top - height], [left, size[1] - left - width], [0, 0]]
            return number + 1, total + tf.pad(logits, around), count + tf.pad(tf.ones_like(logits[..., :1]), around)

        first = network(padded[tf.newaxis, : sides[0], : sides[1]])
        around = [[0, 0], [0, size[0] - sides[0]], [0, size[1] - sides[1]], [0, 0]]
        start = (tf.constant(1), tf.pad(first, around), tf.pad(tf.ones_like(first[..., :1]), around))
        _, total, count = tf.while_loop(
            lambda number, *_: number < tf.shape(places)[0], add, start, parallel_iterations=1
        )
        return total / count


def _positions(length: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Where windows of a side begin: evenly from 0 to the end, no further apart than half a side."""
    gaps = -(-2 * (length - side) // side)
    return tf.range(gaps + 1) * (length - side) // tf.maximum(gaps, 1)
