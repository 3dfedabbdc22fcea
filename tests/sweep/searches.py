"""Searches with a launcher that answers at once and without MLflow."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from optuna.trial import TrialState

from pipeline.config.schema import Config
from pipeline.runtime.process import Process
from pipeline.sweep.command import label, trial_name
from pipeline.sweep.search import Search
from pipeline.sweep.trial_job import TrialResult, TrialSpec
from pipeline.sweep.trial_queue import OWNER
from pipeline.sweep.worker.protocol import StudyTrialArguments

SPACE = ("optimizer.learning_rate=tag(log,interval(1e-4,1e-1))", "model.depth=range(2,5)", "seed=0")
DEAD = {**vars(Process.this()), "pid": 2**22 + 1}  # above the largest process id


class FakeSweep:
    """Stands for `pipeline.sweep.sweep.Sweep`: the result of a trial is a function of its overrides."""

    name, key, run, total = "fake", "0" * 32, object(), 0
    clock = SimpleNamespace(is_up=False)  # of `sweep.max_minutes`

    def __init__(
        self, config: Config, becomes: Callable[[list[str]], TrialResult | BaseException], jobs: int = 1
    ) -> None:
        self.config, self.jobs, self._becomes = config, jobs, becomes
        self.results: dict[int, TrialResult] = {}
        self.trained: list[str] = []
        self.batches: list[int] = []
        self.trained_results: dict[str, TrialResult] = {}

    def plan(
        self, number: int, overrides: list[str], values: dict[str, str], study: StudyTrialArguments | None = None
    ) -> TrialSpec | None:
        trial = trial_name(overrides)
        if trial in self.trained_results:
            self.results[number] = self.trained_results[trial]
            return None
        return TrialSpec(number, label(values), {"trial": trial}, study=study)

    def read_known(self) -> None:
        """What other processes have trained is in `trained_results`."""

    def record_earlier(self, number: int, overrides: list[str], values: dict[str, str]) -> None:
        if (known := self.trained_results.get(trial_name(overrides))) is not None:
            self.results[number] = known

    def launch(self, work: list[tuple[list[str], TrialSpec]]) -> None:
        self.batches.append(len(work))
        for overrides, spec in work:
            result = self._becomes(overrides)
            if isinstance(result, BaseException):
                raise result
            self.trained.append(trial_name(overrides))
            self.results[spec.number] = self.trained_results[trial_name(overrides)] = result


def value(overrides: list[str], key: str) -> float:
    return float(dict(override.split("=") for override in overrides)[key])


def finished(overrides: list[str]) -> TrialResult:
    metrics = {"best/val_mean_iou": 1 / (1 + value(overrides, "optimizer.learning_rate")), "model/parameters": 7.0}
    return TrialResult("", "finished", metrics)


def drawn(search: Search) -> list[dict[str, Any]]:
    return [trial.params for trial in search.queue.trials()]


def states(search: Search) -> list[str]:
    return [trial.state.name for trial in search.queue.trials()]


def work(search: Search) -> Search:
    search.resume()
    search.run()
    return search


def die(search: Search) -> None:
    """Leave what SIGKILL leaves: RUNNING trials of a dead process."""
    with pytest.raises(KeyboardInterrupt):
        work(search)
    for trial in search.queue.trials():
        if trial.state is TrialState.RUNNING:
            search.queue.study._storage.set_trial_user_attr(trial._trial_id, OWNER, DEAD)
