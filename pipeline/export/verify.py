"""A written file against the run: both predict a split, and are scored by the same int64 confusion matrix."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.data.decode import decode_example
from pipeline.data.image_files import read_index_mask
from pipeline.data.voc import Example
from pipeline.evaluate.metrics import image_confusion_matrix, mean_iou

RunFile = Callable[[np.ndarray], np.ndarray]  # (batch, height, width, 3) uint8 to what the file returns
Predict = Callable[[np.ndarray], np.ndarray]  # (height, width, 3) uint8 to class indices, (height, width) uint8


@dataclass
class Counts:
    """What one of the programs predicted on the split."""

    confusion_matrix: np.ndarray  # (classes, classes) int64
    differing: int = 0  # pixels whose class is not the file's, void ones included
    pixels: int = 0
    seconds: list[float] = field(default_factory=list)  # for each image

    @property
    def mean_iou(self) -> float:
        """Mean IoU of the split."""
        return mean_iou(self.confusion_matrix)

    @property
    def milliseconds(self) -> float:
        """The median time of an image; the first ones, in which programs prepare themselves, do not change it."""
        return 1000 * float(np.median(self.seconds))


def classes_of(found: np.ndarray) -> np.ndarray:
    """Class indices (height, width) uint8 of what a file returns for one image: indices, or probabilities."""
    return found[0] if found.ndim == 3 else found[0].argmax(axis=-1).astype(np.uint8)


def compare(
    file: RunFile, networks: Mapping[str, Predict], examples: Sequence[Example], classes: int
) -> tuple[Counts, dict[str, Counts]]:
    """Predict and score every image by the file, and by the networks that it is compared with.

    Returns:
        The counts of the file, and those of each network.
    """
    programs = {"": lambda image: classes_of(file(image[np.newaxis])), **networks}
    counts = {name: Counts(np.zeros((classes, classes), np.int64)) for name in programs}
    for example in examples:
        image, truth = decode_example(example), read_index_mask(example.mask)
        of_file = None
        for name, predict in programs.items():
            started = time.perf_counter()
            prediction = predict(image)
            counts[name].seconds.append(time.perf_counter() - started)
            counts[name].confusion_matrix += image_confusion_matrix(truth, prediction, classes)
            of_file = prediction if of_file is None else of_file
            counts[name].differing += int((prediction != of_file).sum())
            counts[name].pixels += prediction.size
    return counts.pop(""), counts
