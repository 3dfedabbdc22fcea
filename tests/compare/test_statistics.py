"""Scores of single images, gaps, and bootstrap intervals, against values worked out by hand."""

import numpy as np
import pytest

from pipeline.compare.statistics import bootstrap_differences, disagreement, image_ious, iou_gaps
from pipeline.evaluate.metrics import image_confusion_matrix

TRUTH = np.array([[0, 0, 1], [1, 2, 255]], np.uint8)
PREDICTION = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)


def test_ious_of_images_and_of_their_classes() -> None:
    counts = np.stack([image_confusion_matrix(TRUTH, PREDICTION, 4), np.zeros((4, 4), np.int64)])[np.newaxis]
    means, classes = image_ious(counts)
    assert means.shape == (1, 2) and classes.shape == (1, 2, 4)
    # Class 0: 1 of 3, class 1: 2 of 3, class 2: 0 of 1, class 3 is absent.
    np.testing.assert_allclose(classes[0, 0], [1 / 3, 2 / 3, 0, np.nan])
    assert means[0, 0] == pytest.approx(1 / 3) and np.isnan(means[0, 1])


def test_a_gap_is_between_the_highest_and_the_lowest_run() -> None:
    ious = np.array([[0.2, np.nan, np.nan], [0.9, 0.5, np.nan], [0.4, 0.25, 0.1]])
    np.testing.assert_allclose(iou_gaps(ious), [0.7, 0.25, np.nan])


def test_disagreement_is_the_share_of_differing_pixels() -> None:
    masks = [np.zeros((2, 4), np.uint8) for _ in range(3)]
    masks[1][0, 0] = masks[2][0, 0] = masks[2][1, 1] = 3
    assert disagreement(masks) == 2 / 8
    assert disagreement(masks[:1]) == 0 and disagreement([]) == 0
    assert disagreement([masks[0], masks[0][:1]]) == 0  # different sizes cannot be compared


def counts_of(*right: list[int]) -> np.ndarray:
    """(runs, images, 2, 2): each image has 10 pixels of class 1, of which `right` are predicted; none of class 0."""
    found = np.zeros((len(right), len(right[0]), 2, 2), np.int64)
    found[..., 1, 1] = right
    found[..., 1, 0] = 10 - np.array(right)
    return found


def test_differences_are_those_of_the_summed_matrices() -> None:
    difference, low, high = bootstrap_differences(counts_of([10, 6], [6, 4]), best=0)
    # Class 1: 16/20 and 10/20. Class 0 is predicted but never true: its IoU is 0 in both.
    np.testing.assert_allclose(difference, [[0, 0, 0], [-0.15, 0, -0.3]])
    np.testing.assert_allclose([low[0], high[0]], 0)
    # Drawing two of two images gives the differences -0.4, -0.3 and -0.2 in a quarter, a half, a quarter of cases.
    np.testing.assert_allclose([low[1, 2], high[1, 2]], [-0.4, -0.2])


def test_the_same_images_are_drawn_for_both_runs() -> None:
    """Images differ a lot, and runs by the same in each: unpaired, the interval would be wide."""
    difference, low, high = bootstrap_differences(counts_of([9, 5, 1, 9], [8, 4, 0, 8]), best=0)
    np.testing.assert_allclose([difference[1, 2], low[1, 2], high[1, 2]], -0.1)


def test_intervals_are_reproducible_and_narrow_with_the_level() -> None:
    counts = counts_of([10, 9, 8, 3, 4], [8, 9, 6, 7, 1])
    first, second = bootstrap_differences(counts, 0), bootstrap_differences(counts, 0)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    _, low, high = bootstrap_differences(counts, 0, level=0.5)
    assert first[1][1, 0] < low[1, 0] < high[1, 0] < first[2][1, 0]


def test_one_image_has_a_difference_without_an_interval() -> None:
    difference, low, high = bootstrap_differences(counts_of([8], [6]), best=0)
    np.testing.assert_allclose(difference, [[0, 0, 0], [-0.1, 0, -0.2]])
    assert low.shape == high.shape == (2, 3) and np.isnan(low).all() and np.isnan(high).all()


def test_an_absent_class_has_no_difference() -> None:
    counts = np.zeros((2, 3, 3, 3), np.int64)
    counts[..., 0, 0] = 5
    difference, low, high = bootstrap_differences(counts, 1)
    assert np.isnan(difference[:, 2:]).all() and np.isnan(low[:, 2:]).all() and np.isnan(high[:, 2:]).all()
    np.testing.assert_array_equal(difference[:, :2], 0)
