"""What a run knows of the sweep that it is a trial of, and the result that every run returns."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pipeline.tracking.records import last_values
from pipeline.tracking.tracked_run import TrackedRun


def _ignore(run_key: str, validation: Mapping[int, float]) -> None:
    pass


def _never(epoch: int, validation_iou: float) -> bool:
    return False


@dataclass(frozen=True)
class Trial:
    """A run's place in a sweep. By default it has none."""

    name: str | None = None  # the parameters that distinguish it from the other trials
    tags: Mapping[str, str] = field(default_factory=dict)
    parent: str | None = None  # run_key of the sweep's own run
    # Called when the run begins or resumes, with its key and its validation mean IoU by epoch so far.
    on_begin: Callable[[str, Mapping[int, float]], None] = _ignore
    # Called after each epoch (from 1) with its validation mean IoU; returns whether the trial is to end there.
    should_prune: Callable[[int, float], bool] = _never


ALONE = Trial()


@dataclass(frozen=True)
class Result:
    """What a run came to."""

    name: str  # MLflow's id, or the run's key
    score: float  # best validation mean IoU; of a pruned trial, of the epochs that it trained
    metrics: Mapping[str, float]  # the last value of each metric
    pruned: bool = False

    @staticmethod
    def of(run: TrackedRun, score: float, pruned: bool = False) -> "Result":
        """The result of a run that has ended, or is about to."""
        return Result(run.name, score, last_values(run.journal.history()), pruned)
