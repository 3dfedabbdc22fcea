"""What ends training: the last epoch, early stopping or the time, and what a rerun does then."""

import dataclasses

import pytest

from pipeline.config.schema import Config
from pipeline.train.checkpoint_state import TrainingState
from pipeline.train.ending import early_end, ended_by
from tests.configs import config_with
from tests.train.checkpoint_folders import STEPS, state_at

LIMITED = config_with(epochs=8, max_minutes=2.0)


def state(epoch: int, seconds: float, epoch_seconds: float = 20.0, steps: int = 0) -> TrainingState:
    """After so many epochs and steps of the next."""
    return dataclasses.replace(state_at(epoch * STEPS, best=1), step=epoch * STEPS + steps, seconds=seconds,
                               epoch_seconds=epoch_seconds)  # fmt: skip


@pytest.mark.parametrize(
    ("found", "config", "key"),
    [
        (state(5, 99), LIMITED, None),
        (state(5, 101), LIMITED, "max_minutes"),
        (state(5, 101, steps=1), LIMITED, None),  # resumed within an epoch, which is trained to its end
        (state(5, 101, steps=STEPS), LIMITED, None),  # and validated
        (state(0, 999), LIMITED, None),  # without one epoch there is nothing to score
        (state(8, 999), LIMITED, "epochs"),
        (state(5, 101), config_with(epochs=8), None),
        (state(5, 101), dataclasses.replace(LIMITED, early_stopping=4), "early_stopping"),
    ],
)
def test_the_key_that_ends_training(found: TrainingState, config: Config, key: str | None) -> None:
    assert ended_by(found, config) == key
    assert (early_end(found, config) is None) == (key in (None, "epochs"))


def test_a_rerun_ends_with_its_original_and_not_by_time() -> None:
    assert ended_by(state(3, 999), LIMITED, last_epoch=5) is None
    assert ended_by(state(5, 1), LIMITED, last_epoch=5) == "max_minutes"
    assert ended_by(state(8, 1), LIMITED, last_epoch=8) == "epochs"
    said = "max_minutes=2.0: the original ended after epoch 5, and so does this run"
    assert early_end(state(5, 1), LIMITED, last_epoch=5) == said


def test_the_message_says_what_another_epoch_would_take() -> None:
    assert early_end(state(5, 101), LIMITED) == "max_minutes=2.0: 1:41 are used, and another epoch would take 0:20"
