"""The warning about a network that predicts one class everywhere."""

import numpy as np
import pytest

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.evaluate.metrics import Scores
from pipeline.train.collapse import collapse_warning
from pipeline.train.epochs import is_better

CONFIG = checked_config([])
COLLAPSED = Scores(np.array([[6, 0], [4, 0]]), loss=1.0)
HEALTHY = Scores(np.array([[5, 1], [1, 3]]), loss=1.0)


def due(scores: Scores, epoch: int, last: bool = False, warned: bool = False, config: Config = CONFIG) -> str | None:
    return collapse_warning(scores, epoch, last, warned, config)


@pytest.mark.parametrize(
    ("epoch", "last", "warned", "expected"),
    [
        (1, False, False, False), (2, False, False, False), (3, False, False, True), (4, False, True, False),
        (1, True, False, True), (2, True, False, True), (10, True, True, True),
    ],
)  # fmt: skip
def test_it_is_due_when_the_collapse_begins_and_at_the_end(
    epoch: int, last: bool, warned: bool, expected: bool
) -> None:
    """And not in the first two epochs, in which it is usual, unless training ends with them."""
    warning = due(COLLAPSED, epoch, last, warned)
    assert (warning is not None) == expected
    if warning is not None:
        assert warning.startswith("warning: val mIoU 0.3000 is no better than predicting one class everywhere")


def test_what_a_run_has_or_cannot_have_is_not_advised() -> None:
    advice = str(due(COLLAPSED, 3)).partition("collapsed. ")[2]
    ways = "loss=cross_entropy_dice, loss.class_weights=median_frequency, more epochs or another learning rate may help"
    assert advice == ways
    dice = checked_config(["loss=dice", "model.norm=none"])
    advice = str(due(COLLAPSED, 3, config=dice)).partition("collapsed. ")[2]
    assert advice == "loss=cross_entropy_dice, model.norm=batch, more epochs or another learning rate may help"
    averaged = checked_config(["loss=dice", "optimizer.ema=0.9"])
    assert ", a lower optimizer.ema, more epochs or" in str(due(COLLAPSED, 3, config=averaged))
    balanced = checked_config(["loss=cross_entropy_dice", "loss.class_weights=median_frequency"])
    assert str(due(COLLAPSED, 3, config=balanced)).endswith("collapsed. more epochs or another learning rate may help")


@pytest.mark.parametrize("epoch", [1, 3, 10])
def test_a_network_that_is_not_collapsed_is_not_warned_of(epoch: int) -> None:
    assert due(HEALTHY, epoch) is None and due(HEALTHY, epoch, last=True) is None


def test_no_number_is_no_best_score_and_no_collapse() -> None:
    """NaN, the score of no valid pixel, beats nothing; any number beats it."""
    nan = float("nan")
    assert is_better(0.5, 0.4) and not is_better(0.4, 0.4) and not is_better(0.3, 0.4)
    assert is_better(0.0, nan) and not is_better(nan, 0.0) and not is_better(nan, nan)
    empty, one_class = Scores(np.zeros((2, 2), np.int64), nan), Scores(np.array([[9, 0], [0, 0]]), 0.1)
    assert due(empty, 3, last=True) is None and due(one_class, 3, last=True) is None
