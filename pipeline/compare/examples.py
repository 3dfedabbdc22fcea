"""One image of the comparison's grid: photograph, true mask, the prediction of every run, and their IoUs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.compare.predictions import readable_mask
from pipeline.compare.statistics import image_ious
from pipeline.data.image_files import UNDECODABLE, open_whole
from pipeline.data.pixels import PixelRules, has_16_bits, orientation_of, turn_array
from pipeline.data.voc import Example
from pipeline.evaluate.metrics import image_confusion_matrix

LONGEST_PHOTOGRAPH = 1024  # pixels; masks keep every pixel, the photograph behind them does not need to

Masks = Sequence[np.ndarray | None]  # of each run, (height, width) uint8; None: the run has no prediction


@dataclass(frozen=True)
class ComparedImage:
    """One row of the grid. Masks and IoUs are by epoch, which is 0 for the test split."""

    image_id: str
    size: tuple[int, int]  # height, width
    photograph: Image.Image | None
    truth: np.ndarray | None  # (height, width) uint8
    masks: Mapping[int, Masks]
    ious: Mapping[int, np.ndarray]  # (runs, 1 + classes): mean, then each class; NaN where undefined
    gap: float  # largest difference of the mean IoU; without a truth, the share of pixels where the last masks differ


def compare_image(
    image_id: str,
    example: Example | None,
    masks: Mapping[int, Masks],
    classes: int,
    gap: float,
    rules: PixelRules,
) -> ComparedImage:
    """A row of the grid; photograph and truth are missing if the example is, or if they do not fit the masks.

    Args:
        masks: by epoch; at least one of all is there, and all are of one size.
        rules: how the image's file is read.
    """
    height, width = next(mask.shape for of_epoch in masks.values() for mask in of_epoch if mask is not None)
    truth = read_truth(example)
    if truth is not None and truth.shape != (height, width):
        truth = None
    return ComparedImage(
        image_id=image_id,
        size=(height, width),
        photograph=_photograph(example, (height, width), rules),
        truth=truth,
        masks=masks,
        ious={epoch: _ious(truth, of_epoch, classes) for epoch, of_epoch in masks.items()},
        gap=float(np.nan_to_num(gap)),
    )


def read_truth(example: Example | None) -> np.ndarray | None:
    """The true mask of an example, (height, width) uint8; None if it is missing or cannot be read."""
    return None if example is None else readable_mask(example.mask)


def read_masks(files: Sequence[Mapping[str, Path]], image_id: str) -> list[np.ndarray | None]:
    """The mask of an image by every run.

    Args:
        files: of each run, image id -> file.
    """
    return [readable_mask(of_run[image_id]) if image_id in of_run else None for of_run in files]


def complete(masks: Masks, expected: Sequence[int], classes: int) -> bool:
    """Whether all expected masks exist, have one size, and contain only indices of classes.

    Args:
        expected: places in `masks`.
    """
    found = [mask for mask in (masks[place] for place in expected) if mask is not None]
    one_size = len({mask.shape for mask in found}) <= 1
    return len(found) == len(expected) and one_size and all(mask.max() < classes for mask in found)


def confusion_matrices(truth: np.ndarray, masks: Masks, classes: int) -> np.ndarray | None:
    """(runs, classes, classes) int64, zeros for a run without a mask; None if the truth does not fit the masks."""
    empty = np.zeros((classes, classes), np.int64)
    try:
        return np.stack([empty if mask is None else image_confusion_matrix(truth, mask, classes) for mask in masks])
    except ValueError:
        return None


def _ious(truth: np.ndarray | None, masks: Masks, classes: int) -> np.ndarray:
    """(runs, 1 + classes) float64."""
    found = np.full((len(masks), 1 + classes), np.nan)
    for run, mask in enumerate(masks):
        if mask is not None and truth is not None:
            try:
                found[run, 0], found[run, 1:] = image_ious(image_confusion_matrix(truth, mask, classes))
            except ValueError:  # the truth has an index without a class
                continue
    return found


def _photograph(example: Example | None, size: tuple[int, int], rules: PixelRules) -> Image.Image | None:
    """The photograph in RGB, as the network saw it, scaled down if it is very large.

    None if it is missing, cannot be read, or has another height and width than `size`.
    """
    if example is None:
        return None
    try:
        with open_whole(example.image) as opened:
            orientation = rules.turn(orientation_of(opened))
            if rules.intensity is not None and has_16_bits(example.image):
                from pipeline.data.decode import decode_file  # takes seconds, and only it reads colours of 16 bits

                pixels = decode_file(example.image, orientation, rules.intensity)
            else:
                pixels = turn_array(np.asarray(opened.convert("RGB")), orientation)
    except UNDECODABLE:
        return None
    if pixels.shape[:2] != size:
        return None
    photograph = Image.fromarray(pixels)
    photograph.thumbnail((LONGEST_PHOTOGRAPH, LONGEST_PHOTOGRAPH), Image.Resampling.LANCZOS)
    return photograph
