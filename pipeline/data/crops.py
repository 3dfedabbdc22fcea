"""What training sees: the first crops of its stream, and what they hold of each class."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
import tensorflow as tf

from pipeline.data.palette import VOID

COUNTED = 96  # crops whose pixels are counted, or as many as there are in all epochs
SHOWN = 12  # of them, the first


@dataclass(frozen=True)
class TrainingCrops:
    """The first crops of a run."""

    images: np.ndarray  # (shown, crop, crop, 3) uint8
    masks: np.ndarray  # (shown, crop, crop) uint8
    pixels: np.ndarray  # (counted, classes) int64: pixels of each class in each crop
    void_pixels: np.ndarray  # (counted,) int64

    @property
    def count(self) -> int:
        """How many crops were counted."""
        return len(self.pixels)

    @property
    def with_class(self) -> np.ndarray:
        """The share of crops that hold each class, (classes,) float64."""
        return np.asarray((self.pixels > 0).mean(axis=0))

    @property
    def shares(self) -> np.ndarray:
        """The share of each class in the valid pixels of all crops, (classes,) float64; zeros if none is valid."""
        return np.asarray(self.pixels.sum(axis=0) / max(self.pixels.sum(), 1))

    @property
    def void_share(self) -> float:
        """The share of void in all pixels: what the masks leave out, and what lies beyond an image's edge."""
        return float(self.void_pixels.sum() / max(self.void_pixels.sum() + self.pixels.sum(), 1))


def first_crops(stream: tf.data.Dataset, classes: int) -> TrainingCrops:
    """The first crops of a stream.

    Args:
        stream: `pipeline.data.stream.training_stream`, which has a crop at least.
        classes: their number.
    """
    shown: list[tuple[np.ndarray, np.ndarray]] = []
    pixels, void_pixels = [], []
    crops = (crop for images, masks in stream.as_numpy_iterator() for crop in zip(images, masks, strict=True))
    for image, mask in islice(crops, COUNTED):
        counts = np.bincount(mask.ravel(), minlength=VOID + 1)  # (256,)
        pixels.append(counts[:classes])
        void_pixels.append(counts[VOID])
        if len(shown) < SHOWN:
            shown.append((image, mask))
    images_shown, masks_shown = (np.stack(arrays) for arrays in zip(*shown, strict=True))
    return TrainingCrops(images_shown, masks_shown, np.stack(pixels), np.array(void_pixels))
