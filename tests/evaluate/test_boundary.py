"""Boundary IoU: against boundaries drawn by hand, and against the definition pixel by pixel."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.data.image_files import read_index_mask
from pipeline.data.palette import VOID
from pipeline.data.voc import Example
from pipeline.evaluate.boundary import BoundaryCounter, boundary, boundary_counts, boundary_distance
from pipeline.evaluate.metrics import iou


def drawn(*rows: str) -> np.ndarray:
    """Labels from digits; a dot is void."""
    return np.array([[VOID if letter == "." else int(letter) for letter in row] for row in rows], np.uint8)


def shown(where: np.ndarray) -> list[str]:
    return ["".join(" #"[int(pixel)] for pixel in row) for row in where]


def test_the_distance_is_two_percent_of_the_diagonal() -> None:
    """As `int(round(0.02 * sqrt(h ** 2 + w ** 2)))`, at least 1, in the authors' code: 12.5 is rounded to even."""
    sizes = [(375, 500), (1, 1), (96, 96), (480, 640), (1024, 2048), (60, 80)]
    assert [boundary_distance(*size) for size in sizes] == [12, 1, 3, 16, 46, 2]


def test_the_boundary_of_a_square_by_hand() -> None:
    """What `cv2.erode` with a square of 3x3 takes away; the end of the image is a boundary, too."""
    labels = drawn("000000", "011100", "011100", "011100", "000000", "000000")
    assert shown(boundary(labels, 1)) == ["######", "######", "## ###", "######", "######", "######"]
    labels = drawn(*["0" * 9] * 9)
    assert shown(boundary(labels, 2)) == ["#########"] * 2 + ["##     ##"] * 5 + ["#########"] * 2


def test_void_makes_no_boundary() -> None:
    """Neither along the void, nor behind it unless another class is near enough."""
    labels = drawn("0000000", "0000000", "00...00", "00...00", "00...00", "0000000", "0000000")
    assert shown(boundary(labels, 1)) == ["#######", *["#     #"] * 5, "#######"]
    labels = drawn("0000.1111", "0000.1111", "0000.1111", "0000.1111", "0000.1111")
    assert shown(boundary(labels, 1))[1:4] == ["#       #"] * 3
    assert shown(boundary(labels, 2))[2] == "## # # ##"


def test_counts_by_hand() -> None:
    """At distance 1 a square of 3x3 has 8 boundary pixels, shifted by one column 4 of them in common."""
    truth = drawn("000000", "011100", "011100", "011100", "000000", "000000")
    (both, _), (either, _) = boundary_counts(truth, truth, 2), boundary_counts(truth, truth, 2)
    np.testing.assert_array_equal(both, [27, 8])
    np.testing.assert_array_equal(boundary_counts(truth, truth, 2)[1], either)
    shifted = boundary_counts(truth, np.roll(truth, 1, axis=1), 2)
    # Rows 1 and 3 share two pixels each; in row 2 the middle of one is the side of the other.
    np.testing.assert_array_equal(shifted[:, 1], [4, 12])
    assert shifted.dtype == np.int64


def test_a_prediction_in_void_changes_nothing() -> None:
    truth = drawn("0000..1111", *["0000..1111"] * 7)
    predictions = [np.where(truth == VOID, fill, truth).astype(np.uint8) for fill in (0, 1, 2)]
    for prediction in predictions:
        both, either = boundary_counts(truth, prediction, 3)
        np.testing.assert_array_equal(both, either)  # right wherever it is scored
        assert both[2] == 0
    np.testing.assert_array_equal(iou(both, either), [1, 1, np.nan])
    assert not boundary_counts(np.full((4, 5), VOID, np.uint8), np.zeros((4, 5), np.uint8), 3).any()


def slow_boundary(labels: np.ndarray, label: int, distance: int) -> np.ndarray:
    """The definition: pixels of the class with one of another class, or the end of the image, in reach."""
    height, width = labels.shape
    found = np.zeros(labels.shape, bool)
    for row, column in zip(*np.nonzero(labels == label), strict=True):
        rows, columns = (np.arange(at - distance, at + distance + 1) for at in (row, column))
        if rows[0] < 0 or columns[0] < 0 or rows[-1] >= height or columns[-1] >= width:
            found[row, column] = True
        else:
            around = labels[np.ix_(rows, columns)]
            found[row, column] = ((around != label) & (around != VOID)).any()
    return found


maps = arrays.array_shapes(min_dims=2, max_dims=2, max_side=14).flatmap(
    lambda shape: st.tuples(
        arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1, 2, 254, VOID])),
        arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 0, 1, 2, 254])),
    )
)


@given(maps, st.integers(1, 6))
def test_boundaries_are_those_of_the_definition(pair: tuple[np.ndarray, np.ndarray], distance: int) -> None:
    labels, _ = pair
    expected = np.zeros(labels.shape, bool)
    for label in set(labels.ravel().tolist()) - {VOID}:
        expected |= slow_boundary(labels, label, distance)
    np.testing.assert_array_equal(boundary(labels, distance), expected)


@given(maps)
def test_counts_are_those_of_each_class_alone(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = pair
    both, either = boundary_counts(truth, prediction, 255)
    scored = np.where(truth == VOID, np.uint8(VOID), prediction)
    for label in range(255):
        there, here = (slow_boundary(mask, label, boundary_distance(*truth.shape)) for mask in (truth, scored))
        assert (both[label], either[label]) == ((there & here).sum(), (there | here).sum())


def test_a_counter_sums_over_the_images(voc_folder: Callable[..., Path]) -> None:
    root = voc_folder(test=2)
    counter, expected = BoundaryCounter(3), np.zeros((2, 3), np.int64)
    for name in ("test_0", "test_1"):
        example = Example(name, root / f"JPEGImages/{name}.jpg", root / f"SegmentationClass/{name}.png")
        prediction = np.ones((24, 32), np.uint8)
        counter(example, prediction)
        expected += boundary_counts(read_index_mask(example.mask), prediction, 3)
    np.testing.assert_array_equal(counter.counts, expected)
    assert expected[1].all()


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2)])
def test_images_smaller_than_the_distance_are_all_boundary(size: tuple[int, int]) -> None:
    assert boundary(np.zeros(size, np.uint8), 5).all()
