"""From examples to whole images in batches of equal size, for scoring."""

import functools
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from pipeline.data import decode
from pipeline.data.palette import VOID
from pipeline.data.voc import Example

Batch = tuple[tf.Tensor, ...]
# What `WholeImages` yields.
SIGNATURE = (
    tf.TensorSpec((None,), tf.int64),
    tf.TensorSpec((None, None, None, 3), tf.uint8),
    tf.TensorSpec((None, 2), tf.int32),
    tf.TensorSpec((None, None, None), tf.uint8),
    tf.TensorSpec((None, 2), tf.int32),
)
AHEAD = 2  # batches that are decoded and wait


class WholeImages:
    """Whole images in batches of equal padded size; the order of the examples within a size is kept.

    Each iteration yields all of them:

    index: (batch,) int64, of the example.
    image: (batch, height, width, 3) uint8, scaled and padded.
    working size: (batch, 2) int32, of the scaled image without its padding.
    mask: (batch, tall, wide) uint8 at the image's own size, padded with 255 to the largest of the batch.
    own size: (batch, 2) int32, of the image before scaling.

    Batches are decoded by threads that call one function, which is traced once in a process: a tf.data pipeline takes
    0.15 s to be built, and 0.08 s for each iteration, which is more than some validation splits take.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        sizes: np.ndarray,
        *,
        long_side: int | None,
        multiple: int,
        batch_size: int,
        threads: int,
    ) -> None:
        """Args:
        sizes: (examples, 2) height and width of the images before scaling.
        multiple: both sides are padded to a multiple of it.
        threads: batches that are decoded at the same time.
        """
        self._examples, self._sizes, self._threads = examples, np.asarray(sizes, np.int32), threads
        working = decode.working_size(tf.constant(self._sizes), long_side).numpy()
        self._batches = _batches_of_equal_size(working, multiple, batch_size)
        (intensity,) = {example.intensity for example in examples} or {None}
        turned = any(example.orientation != 1 for example in examples)
        self._load = _loader(long_side, multiple, intensity, turned)

    def __iter__(self) -> Iterator[Batch]:
        threads, waiting = ThreadPoolExecutor(self._threads, "whole images"), deque[Future[Batch]]()
        try:
            for indices in self._batches:
                waiting.append(threads.submit(self._loaded, indices))
                if len(waiting) >= self._threads + AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            threads.shutdown(cancel_futures=True)

    def _loaded(self, indices: list[int]) -> Batch:
        chosen = [self._examples[index] for index in indices]
        images, masks = ([str(getattr(example, kind)) for example in chosen] for kind in ("image", "mask"))
        with tf.device("CPU:0"):
            orientations = tf.constant([example.orientation for example in chosen], tf.int32)
            own = tf.constant(self._sizes[indices])
            loaded: Batch = self._load(tf.constant(images), orientations, tf.constant(masks), own)
            return tf.constant(indices, tf.int64), *loaded


@functools.lru_cache(maxsize=8)
def _loader(long_side: int | None, multiple: int, intensity: tuple[float, float] | None, turned: bool) -> Any:
    """A `tf.function` from the files of a batch to its tensors, without the indices.

    Args:
        turned: whether any image has an orientation.
    """
    names = tf.TensorSpec((None,), tf.string)
    signature = [names, tf.TensorSpec((None,), tf.int32), names, tf.TensorSpec((None, 2), tf.int32)]

    @tf.function(input_signature=signature, autograph=False)
    def load(images: tf.Tensor, orientations: tf.Tensor, masks: tf.Tensor, own: tf.Tensor) -> Batch:
        tall, wide = tf.unstack(tf.reduce_max(own, axis=0))

        def load_one(files: Batch) -> Batch:
            path, orientation, mask_path = files
            decoded = decode.decode_image(path, orientation if turned else None, intensity)
            image, mask = decode.scale_image(decoded, long_side), decode.decode_mask(mask_path)
            height, width = tf.unstack(tf.shape(mask))
            padded = tf.pad(mask, [[0, tall - height], [0, wide - width]], constant_values=VOID)
            return decode.pad_reflect(image, multiple), tf.shape(image)[:2], padded, tf.shape(mask)

        types = (tf.uint8, tf.int32, tf.uint8, tf.int32)
        return tuple(tf.map_fn(load_one, (images, orientations, masks), fn_output_signature=types))

    return load


def _batches_of_equal_size(sizes: np.ndarray, multiple: int, batch_size: int) -> list[list[int]]:
    """Indices of the images in batches of equal padded size.

    Args:
        sizes: (images, 2) height and width before padding.
    """
    groups: dict[tuple[int, ...], list[int]] = {}  # padded size -> indices
    for index, size in enumerate(sizes):
        groups.setdefault(tuple(decode.padded_length(int(side), multiple) for side in size), []).append(index)
    return [
        group[start : start + batch_size] for group in groups.values() for start in range(0, len(group), batch_size)
    ]
