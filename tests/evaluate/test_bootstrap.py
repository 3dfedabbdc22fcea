"""Intervals over resampled images, against splits whose resamples can be counted by hand."""

import numpy as np
import pytest

from pipeline.evaluate import bootstrap
from pipeline.evaluate.bootstrap import draw, percentiles, resampled_sums
from pipeline.evaluate.metrics import Scores, mean_iou_interval


def image(*counts: tuple[int, int]) -> np.ndarray:
    """(2, classes) intersections and unions."""
    return np.array(counts).T


def test_a_resample_has_as_many_images_as_the_split() -> None:
    drawn = draw(np.random.default_rng(0), 7, count=500)
    assert drawn.shape == (500, 7) and (drawn.sum(axis=1) == 7).all()
    # Each image is in a resample with probability 1 - (6/7)**7 = 0.66.
    assert (drawn > 0).mean() == pytest.approx(0.66, abs=0.02)


def test_sums_are_those_of_the_drawn_images_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(1).integers(100, size=(2, 7, 3))
    sums = resampled_sums(values, count=50)
    assert np.array_equal(sums, draw(np.random.default_rng(0), 7, 50) @ values)
    assert not np.array_equal(sums, resampled_sums(values, count=50, seed=1))
    for size in (1, 7, 8, 14, 77, 349):
        monkeypatch.setattr(bootstrap, "BLOCK", size)
        assert np.array_equal(resampled_sums(values, count=50), sums)


def test_percentiles_leave_out_what_has_no_number() -> None:
    values = np.array([[0.0, np.nan], [1.0, np.nan], [np.nan, np.nan]])
    low, high = percentiles(values, level=1)
    np.testing.assert_array_equal(low, [0, np.nan])
    np.testing.assert_array_equal(high, [1, np.nan])


def test_equal_images_have_no_interval_and_none_has_no_score() -> None:
    assert mean_iou_interval([image((3, 4), (1, 2))] * 5) == (0.625, 0.625)
    assert np.isnan(mean_iou_interval([])).all()


def test_one_image_has_no_interval() -> None:
    """Every resample is that image, which would look like a score without any doubt."""
    assert np.isnan(mean_iou_interval([image((3, 4), (1, 2))])).all()
    assert np.isnan(Scores(np.zeros((2, 2), np.int64), 0.5, {"a": image((3, 4), (1, 2))}).mean_iou_interval).all()


def test_two_images_are_resampled_to_one_or_both() -> None:
    """A quarter of the resamples has one of them alone, and a quarter the other."""
    assert mean_iou_interval([image((1, 4)), image((4, 4))]) == (0.25, 1.0)


def test_the_interval_narrows_with_the_number_of_images_and_holds_the_score() -> None:
    rng = np.random.default_rng(3)
    widths = []
    for count in (20, 80, 320):
        images = [image(*((int(right), 100) for right in rng.integers(20, 80, 3))) for _ in range(count)]
        low, high = mean_iou_interval(images)
        intersection, union = np.sum(images, axis=0)
        assert low < (intersection / union).mean() < high
        widths.append(high - low)
    assert widths[0] > 1.5 * widths[1] > 2.2 * widths[2]


def test_the_order_of_scoring_does_not_matter() -> None:
    images = {name: image((number, 10), (2, 5)) for number, name in enumerate("abcdef")}
    one, other = (
        Scores(np.zeros((2, 2), np.int64), 0.5, {name: images[name] for name in order})
        for order in ("abcdef", "fdbace")
    )
    assert one.mean_iou_interval == other.mean_iou_interval
    assert one.image_iou["c"] == pytest.approx(0.3)
