"""The warning about a network that predicts one class everywhere."""

import numpy as np
import pytest

from pipeline.evaluate.metrics import Scores
from pipeline.train.collapse import collapse_warning
from pipeline.train.epochs import is_better

COLLAPSED = Scores(np.array([[6, 0], [4, 0]]), loss=1.0)
HEALTHY = Scores(np.array([[5, 1], [1, 3]]), loss=1.0)


@pytest.mark.parametrize(
    ("epoch", "warned", "due"),
    [(1, False, False), (2, False, False), (3, False, True), (4, True, False), (9, True, False), (10, True, True)],
)
def test_it_is_due_when_the_collapse_begins_and_at_the_end(epoch: int, warned: bool, due: bool) -> None:
    """And not in the first two epochs, in which it is usual."""
    warning = collapse_warning(COLLAPSED, epoch, 10, warned)
    assert (warning is not None) == due
    if warning is not None:
        assert warning.startswith("warning: val mIoU 0.3000 is no better than predicting one class everywhere")


def test_a_run_of_one_epoch_is_warned_at_its_end() -> None:
    assert collapse_warning(COLLAPSED, 1, 1, False) is not None


@pytest.mark.parametrize("epoch", [1, 3, 10])
def test_a_network_that_is_not_collapsed_is_not_warned_of(epoch: int) -> None:
    assert collapse_warning(HEALTHY, epoch, 10, False) is None


def test_no_number_is_no_best_score_and_no_collapse() -> None:
    """NaN, the score of no valid pixel, beats nothing; any number beats it."""
    nan = float("nan")
    assert is_better(0.5, 0.4) and not is_better(0.4, 0.4) and not is_better(0.3, 0.4)
    assert is_better(0.0, nan) and not is_better(nan, 0.0) and not is_better(nan, nan)
    empty, one_class = Scores(np.zeros((2, 2), np.int64), nan), Scores(np.array([[9, 0], [0, 0]]), 0.1)
    assert collapse_warning(empty, 3, 3, False) is None and collapse_warning(one_class, 3, 3, False) is None
