"""How much memory decoded images get, and where they are because of that: no bit depends on it."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from pipeline.data import decode
from pipeline.runtime.limits import available_addresses, available_memory

# Of the memory that is left: TensorFlow, the activations of a step and MLflow need the other three quarters.
SHARE = 4
MIB = 2**20


@dataclass(frozen=True)
class Room:
    """What decoded training images need, and what they get."""

    needed: int  # bytes of all of them
    cache_mb: int  # as configured
    memory_mb: int  # MiB of memory for them, at most; if they need more they are in a file
    file_fits: bool = True  # whether the process may map such a file

    @staticmethod
    def of(sizes: np.ndarray, long_side: int | None, cache_mb: int, processes: int = 1) -> "Room":
        """The room that this process has for images now.

        Args:
            sizes: (examples, 2) height and width of the files' images.
            cache_mb: MiB of memory, at most.
            processes: that share the machine's memory and do the same.
        """
        scaled = decode.working_size(tf.constant(sizes, tf.int32), long_side).numpy().astype(np.int64)
        needed = 4 * int(scaled.prod(axis=1).sum())  # three bytes of colour and one of mask for each pixel
        share = available_memory() // SHARE // processes // MIB
        return Room(needed, cache_mb, min(cache_mb, max(1, share)), needed <= available_addresses() // SHARE)

    @property
    def in_memory(self) -> bool:
        """Whether all images fit into their share of the memory."""
        return self.needed <= self.memory_mb * MIB

    @property
    def bound_mb(self) -> int:
        """`cache_mb` of `training_images`: 0 if the images are decoded each time."""
        return self.memory_mb if self.in_memory or self.file_fits else 0

    def __str__(self) -> str:
        """What is taken, for the opening of a run: `cache: 312 MB in memory`."""
        size = f"{max(1, round(self.needed / MIB)):,} MB"
        lowered = f", as {self.memory_mb:,} MB of memory are left for them" if self.memory_mb < self.cache_mb else ""
        if not self.cache_mb:
            return "no cache"
        if self.in_memory:
            return f"cache: {size} in memory"
        if self.file_fits:
            return f"cache: {size} in a file{lowered}"
        return f"no cache{lowered}, and no addresses for a file of {size} (ulimit -v)"


def scoring_batch(sizes: np.ndarray, batch_size: int, workers: int) -> int:
    """How many images are decoded into one batch for scoring: `batch_size`, or fewer where their memory is short.

    Args:
        sizes: (examples, 2) height and width of the files' images.
        workers: batches that are decoded at the same time.
    """
    largest = 4 * int(sizes.astype(np.int64).prod(axis=1).max())  # bytes of one image and its mask
    batches = workers + 3  # two are decoded ahead, and one is scored
    return max(1, min(batch_size, available_memory() // SHARE // (largest * batches)))
