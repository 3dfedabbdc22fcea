"""Splits whose scores would say nothing are refused; what a split lacks is told."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.palette import VOID
from pipeline.data.split_checks import SplitStatistics, absent_classes, split_faults, split_warnings
from pipeline.data.voc import Example
from pipeline.evaluate.metrics import image_confusion_matrix, mean_iou

CLASSES = ["ground", "cat", "dog"]
VALUES = (0, 1, 2, VOID)
GOOD = [[0, 1, VOID], [2, 0, 0]]  # pixels of two masks

masks = st.lists(st.lists(st.sampled_from(VALUES), min_size=1, max_size=4), min_size=1, max_size=4)


def statistics(masks: list[list[int]]) -> SplitStatistics:
    """Args: masks: the pixels of each."""
    pixels = [[mask.count(label) for label in range(len(CLASSES))] for mask in masks]
    sizes = np.array([[1, len(mask)] for mask in masks])
    return SplitStatistics(sizes, np.ones(len(masks), np.int64), np.array(pixels))


def faults(masks: list[list[int]], split: str = "val", trains: bool = True) -> list[str]:
    return split_faults(CLASSES, {"train": statistics(GOOD), split: statistics(masks)}, trains)


def warnings(masks: list[list[int]], split: str = "val") -> list[str]:
    examples = [Example(f"x{place}", Path(f"x{place}.jpg"), Path(f"x{place}.png")) for place in range(len(masks))]
    return split_warnings(CLASSES, {split: examples}, {split: statistics(masks)})


@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_background_and_255_alone_are_refused(split: str, trains: bool) -> None:
    """In every split that is learnt or scored: all that 255 covers would be left out without a word."""
    (fault,) = faults([[0, 0, VOID, 0], [0, VOID, VOID, VOID], [0, 0]], split, trains)
    assert fault.startswith(f"SegmentationClass/: no mask of the {split} split has a class besides ground (0), so ")
    assert fault.endswith(
        "; 40% of their pixels are 255, which is void and neither learnt nor scored: if it is meant as a class, "
        "a conversion writes 255 as 1, cat; otherwise list masks with other classes as well"
    )
    why = "nothing can be learnt" if split == "train" else "a network that predicts ground everywhere would have a mean"
    assert why in fault


@pytest.mark.parametrize(("split", "trains"), [("train", True), ("val", True)])
def test_background_alone_neither_teaches_nor_chooses(split: str, trains: bool) -> None:
    (fault,) = faults([[0, 0], [0]], split, trains)
    assert fault.endswith("; list masks with other classes as well") and "255" not in fault


@pytest.mark.parametrize("split", ["train", "val"])
def test_255_next_to_class_1_alone_may_be_class_0(split: str) -> None:
    """Masks in which the background is 255."""
    (fault,) = faults([[1, VOID], [1, 1]], split)
    assert (
        "has a class besides cat (1)" in fault
        and "if it is meant as a class, a conversion writes 255 as 0, ground; otherwise" in fault
    )


@pytest.mark.parametrize(("split", "trains"), [("test", True), ("test", False), ("val", False)])
def test_background_alone_may_be_scored(split: str, trains: bool) -> None:
    """It counts what is falsely found; that other classes are missing is told."""
    assert faults([[0, 0], [0]], split, trains) == []
    assert warnings([[0, 0], [0]], "test") == [
        "no test mask contains: cat, dog; the mean IoU counts such a class only if it is predicted, with 0"
    ]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_split_without_a_valid_pixel_is_refused(split: str) -> None:
    (fault,) = faults([[VOID, VOID], [VOID]], split, trains=False)
    assert fault.startswith(f"SegmentationClass/: all masks of the {split} split are 255 throughout, which is void")


def test_faults_of_all_splits_are_reported_together() -> None:
    found = {"train": statistics([[0]]), "val": statistics([[VOID]]), "test": statistics([[0, VOID]])}
    assert len(split_faults(CLASSES, found, trains=True)) == 3


@given(masks)
def test_what_is_scored_is_no_matter_of_course(masks: list[list[int]]) -> None:
    """A validation split that passes has a score, and one below 1 whatever class is predicted everywhere."""

    def score(predicted: int) -> float:
        pairs = [(np.array([mask], np.uint8), np.full((1, len(mask)), predicted, np.uint8)) for mask in masks]
        return mean_iou(sum(image_confusion_matrix(truth, prediction, 3) for truth, prediction in pairs))

    # NaN, which is less than nothing, included
    assert (faults(masks) == []) == all(score(predicted) < 1 for predicted in range(3))


@pytest.mark.parametrize("masks", [GOOD, [[0, 1, 2], [0, 1]], [[1, 2, VOID], [0, VOID], [0, 1]]])
def test_what_masks_usually_hold_is_not_told(masks: list[list[int]]) -> None:
    """Void next to classes makes void in a mask of background credible."""
    assert faults(masks) == [] and warnings(masks) == []


def test_masks_without_a_valid_pixel_are_named() -> None:
    found = warnings([[VOID, VOID], *GOOD, *[[VOID]] * 6])
    assert found == [
        "SegmentationClass/: 255 (void) throughout in the val split, so these images are neither learnt nor scored: "
        "x0, x3, x4, x5, x6 and 2 more"
    ]


def test_masks_of_0_and_255_among_others_are_named() -> None:
    """Of two tools, of which one writes 255 for what the other writes 1."""
    assert faults([[0, VOID], [0, 1, 2], [0, 2]]) == []
    (found,) = warnings([[0, VOID], [0, 1, 2], [0, 2]])
    assert "only ground (0) and 255 in the val split, where no other mask holds 255: x0; 255 is void" in found


def test_absent_classes_are_told_but_for_train() -> None:
    """That train lacks a class is told elsewhere: the network cannot learn it."""
    masks = [[0, 2], [0, 0]]
    assert absent_classes(CLASSES, statistics(masks)) == ["cat"]
    assert warnings(masks, "train") == []
    assert warnings(masks, "test")[0].startswith("no test mask contains: cat; ")
