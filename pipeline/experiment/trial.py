"""What a run is told when it is a trial of a sweep, and what every run answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

BeginWithHistory = Callable[[str, Mapping[int, float]], None]


def _began(run_key: str, validation: Mapping[int, float]) -> None:
    pass


def _go_on(epoch: int, validation_iou: float) -> bool:
    return False


@dataclass(frozen=True)
class Trial:
    """A run's place in a sweep; a run of its own has none of it."""

    name: str | None = None  # the parameters in which it differs from the others
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None  # run_key of the sweep's own run
    # Called with the run's key when it begins or goes on, and its validation mean IoU by epoch so far.
    began: BeginWithHistory = _began
    # Called after each epoch (from 1) with its validation mean IoU; whether the trial is to end there.
    prune: Callable[[int, float], bool] = _go_on


ALONE = Trial()


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    name: str  # MLflow's, or the run's key
    score: float  # best validation mean IoU; of a pruned trial, of the epochs it had
    metrics: Mapping[str, float]  # the last value of each metric
    pruned: bool = False
