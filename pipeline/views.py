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
        size = tf.unstack(tf.shape(padded)[:2])
        height, width = (tf.minimum(side, self.window) for side in size)
        tops, lefts = _positions(size[0], height), _positions(size[1], width)
        columns = tf.shape(lefts)[0]

        def window(number: tf.Tensor) -> tf.Tensor:
            """Logits of a window, row by row, in a band (1, height, whole width, classes) of zeros."""
            top, left = tops[number // columns], lefts[number % columns]
            logits = network(padded[tf.newaxis, top : top + height, left : left + width])
            return tf.pad(logits, [[0, 0], [0, 0], [left, size[1] - left - width], [0, 0]])

        def put_down(number: tf.Tensor, total: tf.Tensor, band: tf.Tensor) -> tuple[tf.Tensor, ...]:
            """A band that is complete is added to the whole: once for each row, since that takes a whole picture."""
            top = tops[number // columns]

            def added() -> tuple[tf.Tensor, tf.Tensor]:
                below = size[0] - top - height
                return total + tf.pad(band, [[0, 0], [top, below], [0, 0], [0, 0]]), tf.zeros_like(band)

            complete = tf.equal(number % columns, columns - 1)
            return number + 1, *tf.cond(complete, added, lambda: (total, band))

        band = window(tf.constant(0))
        start = put_down(tf.constant(0), tf.zeros([1, *size, tf.shape(band)[-1]]), band)
        _, total, _ = tf.while_loop(
            lambda number, *_: number < tf.shape(tops)[0] * columns,
            lambda number, total, band: put_down(number, total, band + window(number)),
            start,
            parallel_iterations=1,
        )
        count = _windows_over(size[0], tops, height)[:, tf.newaxis] * _windows_over(size[1], lefts, width)
        return total / count[tf.newaxis, ..., tf.newaxis]


def _positions(length: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """Where windows of a side begin: evenly from 0 to the end, no further apart than half a side."""
    gaps = -(-2 * (length - side) // side)
    return tf.range(gaps + 1) * (length - side) // tf.maximum(gaps, 1)


def _windows_over(length: tf.Tensor, positions: tf.Tensor, side: tf.Tensor) -> tf.Tensor:
    """How many windows there are over each pixel of a side, (length,) float32."""
    behind = tf.range(length) - positions[:, tf.newaxis]  # (windows, length)
    return tf.reduce_sum(tf.cast((behind >= 0) & (behind < side), tf.float32), axis=0)
