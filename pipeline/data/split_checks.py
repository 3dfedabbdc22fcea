"""Refuses splits that cannot be learnt or scored, and tells what a split lacks, by the pixels of its masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.data.conversion import VOID_MEANT
from pipeline.data.layout import MASKS
from pipeline.data.palette import VOID
from pipeline.data.voc import Example
from pipeline.runtime.text import enumerated


@dataclass(frozen=True)
class SplitStatistics:
    """What was measured on a split, in the order of its examples."""

    sizes: np.ndarray  # (examples, 2) int64: height, width in pixels of the masks, and of the images once turned
    orientations: np.ndarray  # (examples,) int64: the EXIF orientation by which each image is turned; 1: not at all
    class_pixels: np.ndarray  # (examples, classes) int64: pixels of each class; void is not counted

    @property
    def void_pixels(self) -> np.ndarray:
        """Pixels of each mask that are void, (examples,) int64."""
        return self.sizes.prod(axis=1) - self.class_pixels.sum(axis=1)


def absent_classes(classes: Sequence[str], statistics: SplitStatistics) -> list[str]:
    """Names of the classes that no mask of a split contains."""
    pixels = statistics.class_pixels.sum(axis=0)  # (classes,)
    return [name for name, count in zip(classes, pixels, strict=True) if count == 0]


def split_faults(classes: Sequence[str], statistics: Mapping[str, SplitStatistics], trains: bool) -> list[str]:
    """A fault for each split whose scores would say nothing, whatever is predicted.

    - Not one pixel is valid.
    - 0 and 255 alone: such masks often use 255, which is void, for a class. A network that predicts class 0 alone would
      have a mean IoU of 1.
    - One class alone in train, from which nothing can be learnt, or in val, by which the best epoch is chosen. (A test
      split of background alone may be meant: it counts what is falsely found.)

    Args:
        statistics: by split.
        trains: whether the splits are trained on and choose the best epoch, or are only scored.
    """
    faults = []
    for split, found in statistics.items():
        if len(found.sizes) == 0:
            continue  # an empty list has a fault of its own
        void = found.void_pixels.sum() / found.sizes.prod(axis=1).sum()
        if void == 1:
            faults.append(
                f"{MASKS}/: all masks of the {split} split are {VOID} throughout, which is void and neither learnt nor "
                "scored: write the index of its class for each pixel"
            )
            continue
        only, *others = np.flatnonzero(found.class_pixels.any(axis=0)).tolist()
        if not others and ((void > 0 and only == 0) or (trains and split != "test")):
            faults.append(_one_class_alone(classes, only, split, void))
    return faults


def _one_class_alone(classes: Sequence[str], only: int, split: str, void: float) -> str:
    """Args: void: share of the split's pixels."""
    why = (
        "nothing can be learnt"
        if split == "train"
        else f"a network that predicts {classes[only]} everywhere would have a mean IoU of 1"
    )
    fault = f"{MASKS}/: no mask of the {split} split has a class besides {classes[only]} ({only}), so {why}; "
    if void > 0:
        other = 0 if only else 1  # masks of 1 and 255 have the background as 255
        return fault + (
            f"{void:.0%} of their pixels are {VOID}, which is void and neither learnt nor scored: "
            f"if it is meant as a class{VOID_MEANT}{other}, {classes[other]}; otherwise list masks with other "
            "classes as well"
        )
    return fault + "list masks with other classes as well"


def split_warnings(
    classes: Sequence[str], splits: Mapping[str, Sequence[Example]], statistics: Mapping[str, SplitStatistics]
) -> list[str]:
    """What a person should know of the masks of each split before its scores are read."""
    warnings = []
    for split, found in statistics.items():
        ids = np.array([example.id for example in splits[split]])
        if (void := _masks_of_void(found)).any():
            warnings.append(
                f"{MASKS}/: {VOID} (void) throughout in the {split} split, so these images are neither learnt nor "
                f"scored: {enumerated(ids[void])}"
            )
        if (suspects := _masks_of_background_and_void(found)).any():
            warnings.append(
                f"{MASKS}/: only {classes[0]} (0) and {VOID} in the {split} split, where no other mask holds {VOID}: "
                f"{enumerated(ids[suspects])}; {VOID} is void and neither learnt nor scored: if it is meant as a class "
                "there, write the index of that class"
            )
        if split != "train" and (absent := absent_classes(classes, found)):
            warnings.append(
                f"no {split} mask contains: {enumerated(absent, 10)}; the mean IoU counts such a class only if it is "
                "predicted, with 0"
            )
    return warnings


def _masks_of_void(found: SplitStatistics) -> np.ndarray:
    """Which masks have no valid pixel, (examples,) bool."""
    return found.class_pixels.sum(axis=1) == 0


def _masks_of_background_and_void(found: SplitStatistics) -> np.ndarray:
    """Which masks use 255 as if it were a class, (examples,) bool: those of 0 and 255 alone.

    None of them do if a mask has 255 next to other classes: then 255 is a border or a gap, as in PASCAL VOC.
    """
    has_void, has_objects = found.void_pixels > 0, found.class_pixels[:, 1:].any(axis=1)
    if (has_void & has_objects).any():
        return np.zeros_like(has_void)
    return has_void & ~has_objects & (found.class_pixels[:, 0] > 0)
