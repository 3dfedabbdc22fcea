"""Scores from confusion matrices, against values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.data.palette import VOID
from pipeline.evaluate.metrics import (
    Scores,
    accuracy_per_class,
    dice_per_class,
    frequency_weighted_iou,
    image_confusion_matrix,
    intersection_and_union,
    iou,
    iou_per_class,
    mean_iou,
    mean_over_classes,
    pixel_accuracy,
    precision_per_class,
    recall_per_class,
)

# rows: truth, columns: prediction
BY_HAND = np.array([[50, 3, 2], [5, 30, 0], [0, 10, 0]], np.int64)

TRUTH = np.array([[0, 0, 1], [1, 2, VOID]], np.uint8)
PREDICTION = np.array([[0, 1, 1], [1, 0, 2]], np.uint8)

matrices = st.integers(1, 6).flatmap(lambda side: arrays.arrays(np.int64, (side, side), elements=st.integers(0, 50)))


def test_scores_by_hand() -> None:
    """Class 0: 50 / (55 + 55 - 50); class 1: 30 / (35 + 43 - 30); class 2: 0 / (10 + 2)."""
    np.testing.assert_allclose(iou_per_class(BY_HAND), [50 / 60, 30 / 48, 0])
    np.testing.assert_allclose(accuracy_per_class(BY_HAND), [50 / 55, 30 / 35, 0])
    assert mean_iou(BY_HAND) == pytest.approx((50 / 60 + 30 / 48) / 3)
    assert pixel_accuracy(BY_HAND) == 80 / 100


def test_dice_precision_and_recall_by_hand() -> None:
    """Class 0: 50 of 55 predicted and of 55 true; class 1: 30 of 43 and of 35; class 2: 0 of 2 and of 10."""
    np.testing.assert_allclose(dice_per_class(BY_HAND), [2 * 50 / 110, 2 * 30 / 78, 0])
    np.testing.assert_allclose(precision_per_class(BY_HAND), [50 / 55, 30 / 43, 0])
    np.testing.assert_allclose(recall_per_class(BY_HAND), [50 / 55, 30 / 35, 0])
    assert frequency_weighted_iou(BY_HAND) == pytest.approx((55 * 50 / 60 + 35 * 30 / 48 + 10 * 0) / 100)


# Class 2 is predicted but never true, class 3 true but never predicted, class 4 neither.
ODD = np.array([[9, 2, 1, 0, 0], [0, 5, 1, 0, 0], [0, 0, 0, 0, 0], [2, 1, 0, 0, 0], [0, 0, 0, 0, 0]], np.int64)
COMMON = np.array([[1612, 173, 143, 156], [74, 610, 54, 53], [50, 43, 495, 41], [20, 24, 37, 313]], np.int64)


@pytest.mark.parametrize(
    ("matrix", "expected"),
    [
        (
            ODD,
            {
                iou_per_class: ([0.6428571343, 0.5555555820, 0, 0, np.nan], 0.2996031642),
                dice_per_class: ([0.7826086879, 0.7142857313, 0, 0, np.nan], 0.3742235899),
                precision_per_class: ([0.8181818128, 0.6250000000, 0, 0, np.nan], 0.3607954383),
                recall_per_class: ([0.7500000000, 0.8333333135, 0, 0, np.nan], 0.3958333135),
                frequency_weighted_iou: 0.5260770917,
            },
        ),
        (
            COMMON,
            {
                iou_per_class: ([0.7235188484, 0.5916585922, 0.5735805035, 0.4860248566], 0.5936957002),
                dice_per_class: ([0.8395833373, 0.7434490919, 0.7290132642, 0.6541274786], 0.7415432930),
                precision_per_class: ([0.9179954529, 0.7176470757, 0.6790123582, 0.5559502840], 0.7176512480),
                recall_per_class: ([0.7735124826, 0.7711757421, 0.7869634628, 0.7944162488], 0.7815169692),
                frequency_weighted_iou: 0.6485610604,
            },
        ),
    ],
    ids=["odd", "common"],
)
def test_scores_are_those_of_torchmetrics(matrix: np.ndarray, expected: dict[object, object]) -> None:
    """Of torchmetrics 1.9 on masks with these counts and void (`ignore_index=255`), in float32.

    MulticlassJaccardIndex, F1Score, Precision and Recall, `average` none, macro and weighted. A class that is neither
    true nor predicted has 0 there, too, but is left out of the mean, as here.
    """
    for score, values in expected.items():
        if score is frequency_weighted_iou:
            assert frequency_weighted_iou(matrix) == pytest.approx(values, abs=1e-7)
            continue
        each, mean = values  # type: ignore[misc]
        found = score(matrix)  # type: ignore[operator]
        np.testing.assert_allclose(found, each, atol=1e-7)
        assert mean_over_classes(found) == pytest.approx(mean, abs=1e-7)


def test_one_class_everywhere_has_no_high_mean_precision() -> None:
    matrix = np.array([[90, 0], [10, 0]], np.int64)
    np.testing.assert_array_equal(precision_per_class(matrix), [0.9, 0])
    np.testing.assert_array_equal(recall_per_class(matrix), [1, 0])


def test_rows_are_the_truth() -> None:
    """All of class 0 is predicted as class 1: class 1 has every pixel right, class 0 none."""
    matrix = np.array([[0, 10], [0, 10]], np.int64)
    np.testing.assert_array_equal(accuracy_per_class(matrix), [0, 1])
    np.testing.assert_array_equal(iou_per_class(matrix), [0, 0.5])


def test_an_absent_class_has_no_iou_and_does_not_lower_the_mean() -> None:
    matrix = np.array([[8, 2, 0], [0, 10, 0], [0, 0, 0]], np.int64)
    np.testing.assert_array_equal(iou_per_class(matrix), [8 / 10, 10 / 12, np.nan])
    np.testing.assert_array_equal(accuracy_per_class(matrix), [0.8, 1, np.nan])
    assert mean_iou(matrix) == pytest.approx((8 / 10 + 10 / 12) / 2)


def test_a_class_that_is_only_predicted_has_iou_0() -> None:
    matrix = np.array([[8, 0, 2], [0, 10, 0], [0, 0, 0]], np.int64)
    np.testing.assert_array_equal(iou_per_class(matrix), [0.8, 1, 0])
    assert np.isnan(accuracy_per_class(matrix)[2])
    assert mean_iou(matrix) == pytest.approx(1.8 / 3)


@pytest.mark.filterwarnings("error")
def test_a_matrix_without_pixels_has_no_score() -> None:
    """NaN, never 0.0, which would be the score of a network that is always wrong."""
    empty = np.zeros((3, 3), np.int64)
    assert np.isnan(iou_per_class(empty)).all()
    for score in (dice_per_class, precision_per_class, recall_per_class):
        assert np.isnan(score(empty)).all()
    assert np.isnan(mean_iou(empty)) and np.isnan(pixel_accuracy(empty)) and np.isnan(frequency_weighted_iou(empty))
    assert np.isnan(mean_over_classes(np.full((2, 3), np.nan))).all()


@pytest.mark.parametrize("scale", [2**31, 2**53, 2**56])
def test_large_counts_are_summed_exactly(scale: int) -> None:
    """As by Python's integers, which are unlimited. In float64, 2**53 + 1 would be rounded."""
    matrix = BY_HAND * scale // 32
    matrix[0, 0] += 1
    exact = [[int(value) for value in row] for row in matrix]
    for label in range(3):
        union = sum(exact[label]) + sum(row[label] for row in exact) - exact[label][label]
        assert iou_per_class(matrix)[label] == exact[label][label] / union
    assert pixel_accuracy(matrix) == sum(exact[i][i] for i in range(3)) / sum(map(sum, exact))
    total = np.array([[2**53, 0], [0, 1]], np.int64) + np.array([[1, 0], [0, 0]], np.int64)
    assert total.sum() == 2**53 + 2


def test_image_confusion_matrix_leaves_void_out() -> None:
    found = image_confusion_matrix(TRUTH, PREDICTION, 3)
    np.testing.assert_array_equal(found, [[1, 1, 0], [0, 2, 0], [1, 0, 0]])
    assert found.dtype == np.int64
    assert not image_confusion_matrix(np.full((2, 2), VOID, np.uint8), np.zeros((2, 2), np.uint8), 3).any()


@pytest.mark.parametrize(
    ("prediction", "fault"),
    [
        (PREDICTION[:, :2], r"truth has shape \(2, 3\), but prediction has \(2, 2\)"),
        (PREDICTION + np.uint8(2), "class index 3; at most 2 expected"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(prediction: np.ndarray, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        image_confusion_matrix(TRUTH, prediction, 3)


@pytest.mark.parametrize("classes", [2, 5, 21, 255])
def test_many_matrices_at_once_score_as_each_alone(classes: int) -> None:
    """To the last bit, classes without pixels included."""
    rng = np.random.default_rng(classes)
    many = rng.integers(0, 10**6, (2, 3, classes, classes)) * (rng.random((2, 3, classes, 1)) < 0.7)
    many[1, 2] = 0
    ious, means = iou_per_class(many), mean_over_classes(iou_per_class(many))
    assert ious.shape == (2, 3, classes) and means.shape == (2, 3)
    for place in np.ndindex(2, 3):
        np.testing.assert_array_equal(ious[place], iou_per_class(many[place]))
        np.testing.assert_array_equal(means[place], mean_iou(many[place]))


def test_intersections_and_unions_of_a_sum_are_summed() -> None:
    intersection, union = intersection_and_union(np.stack([BY_HAND, BY_HAND.T + 1]))
    np.testing.assert_array_equal(intersection.sum(axis=0), intersection_and_union(BY_HAND + BY_HAND.T + 1)[0])
    np.testing.assert_array_equal(
        iou(intersection.sum(axis=0), union.sum(axis=0)), iou_per_class(BY_HAND + BY_HAND.T + 1)
    )


@given(matrices, st.randoms(use_true_random=False))
def test_renaming_classes_renames_their_scores(matrix: np.ndarray, random: object) -> None:
    order = np.array(random.sample(range(len(matrix)), len(matrix)))  # type: ignore[attr-defined]
    renamed = matrix[np.ix_(order, order)]
    np.testing.assert_array_equal(iou_per_class(renamed), iou_per_class(matrix)[order])
    assert mean_iou(renamed) == pytest.approx(mean_iou(matrix), nan_ok=True)
    np.testing.assert_array_equal(pixel_accuracy(renamed), pixel_accuracy(matrix))


@given(matrices)
def test_scores_are_in_0_to_1_and_iou_at_most_accuracy(matrix: np.ndarray) -> None:
    iou, accuracy = iou_per_class(matrix), accuracy_per_class(matrix)
    both = np.isfinite(accuracy)
    assert (iou[both] <= accuracy[both]).all()
    for values in (iou[np.isfinite(iou)], accuracy[both]):
        assert ((values >= 0) & (values <= 1)).all()
    dice, precision, recall = dice_per_class(matrix), precision_per_class(matrix), recall_per_class(matrix)
    exists = np.isfinite(iou)  # a class has all four scores, or none
    for values in (dice, precision, recall):
        np.testing.assert_array_equal(np.isfinite(values), exists)
        assert (values[exists] >= iou[exists] - 1e-12).all() and (values[exists] <= 1).all()
    np.testing.assert_allclose(dice, 2 * iou / (1 + iou))
    np.testing.assert_array_equal(recall[both], accuracy[both])
    perfect = np.diag(np.diag(matrix))
    np.testing.assert_array_equal([mean_iou(perfect), pixel_accuracy(perfect)], 1 if perfect.any() else np.nan)
    np.testing.assert_array_equal(iou_per_class(matrix.T), iou)  # truth and prediction can be swapped


def test_scores_of_a_split() -> None:
    scores = Scores(BY_HAND, loss=0.5)
    assert scores.mean_iou == mean_iou(BY_HAND) and scores.pixel_accuracy == 0.8
    assert scores.mean_dice == mean_over_classes(dice_per_class(BY_HAND))
    assert scores.mean_precision == mean_over_classes(precision_per_class(BY_HAND))
    assert scores.mean_recall == mean_over_classes(recall_per_class(BY_HAND))
    assert np.isnan(scores.boundary_iou) and np.isnan(scores.boundary_iou_per_class).all()
    counted = Scores(BY_HAND, 0.5, boundary_counts=np.array([[3, 0, 0], [4, 0, 2]]))
    np.testing.assert_array_equal(counted.boundary_iou_per_class, [0.75, np.nan, 0])
    assert counted.boundary_iou == 0.375
    assert scores.absent.tolist() == []
    assert Scores(np.array([[4, 0, 1], [0, 0, 0], [0, 0, 0]]), loss=0.5).absent.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("matrix", "collapsed"),
    [
        ([[50, 0], [30, 0]], True),  # the most frequent class everywhere: mean IoU 50 / 80 / 2
        ([[0, 50], [0, 30]], True),  # the other one everywhere
        ([[0, 50], [30, 0]], True),  # all wrong
        ([[88, 2], [10, 0]], True),
        ([[9000, 0], [980, 20]], True),  # 0.461 where one class everywhere would have 0.45
        ([[9000, 0], [940, 60]], False),  # 0.483
        ([[50, 0], [20, 10]], False),
        ([[50, 0, 0], [20, 0, 0], [0, 0, 30]], False),
        ([[0, 0], [0, 0]], False),  # no valid pixel
        ([[50, 0], [0, 0]], False),  # one class alone: nothing could be better
        ([[0, 50], [0, 0]], False),
    ],
)
@pytest.mark.filterwarnings("error")
def test_collapsed_is_no_better_than_one_class_everywhere(matrix: list[list[int]], collapsed: bool) -> None:
    assert Scores(np.array(matrix, np.int64), loss=0).collapsed is collapsed
