"""The search: trials are drawn from a study, run in batches of the launcher's size, and reported to the study."""

import math
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pipeline.config.addresses import JOURNAL, SQLITE, storage_address
from pipeline.config.schema import Config
from pipeline.runtime.errors import RunFailed, UserError
from pipeline.sweep.command import CHOOSE_DATA, Command, distinct_datasets, label, sweep_name
from pipeline.sweep.objectives import metric_of, score
from pipeline.sweep.search_space import SearchSpace, search_space
from pipeline.sweep.start import open_sweep
from pipeline.sweep.study import check_sampler, open_storage, open_study
from pipeline.sweep.sweep import Sweep
from pipeline.sweep.trial_job import TrialResult, TrialSpec
from pipeline.sweep.trial_queue import TrialQueue
from pipeline.sweep.worker.protocol import StudyTrialArguments

STATUS = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}


def run_search(command: Command, config: Config, n_trials: Any) -> list[TrialResult]:
    """Search until `n_trials` trials are completed or pruned; see `pipeline.sweep.plugins.OptunaSweeper`.

    Args:
        config: of the first values.
    """
    if not isinstance(n_trials, int) or n_trials < 1:
        raise UserError(f"hydra.sweeper.n_trials={n_trials}: at least 1 expected")
    space = search_space(command.parsed())
    address = storage_address(config.sweep.storage)
    check_sampler(config.sweep, address)
    storage = open_storage(address)
    name = sweep_name(config, command.typed)
    datasets = distinct_datasets(command, space.choices(CHOOSE_DATA))
    with open_sweep(command, config, datasets, join=True) as sweep:
        study = open_study(storage, name, config.sweep, space.described(), config.epochs)
        queue = TrialQueue(name, study, space, config.sweep.sampler, config.seed, sweep.jobs)
        search = Search(sweep, queue, address, n_trials)
        search.resume()
        search.run()
        missing = sweep.finish()
    if missing:
        raise RunFailed(missing)
    return list(sweep.results.values())


class Search:
    """One process's work on a study, until as many trials as are wanted are completed or pruned."""

    def __init__(self, sweep: Sweep, queue: TrialQueue, address: str, n_trials: int) -> None:
        self.sweep, self.queue, self.n_trials, self._address = sweep, queue, n_trials, address
        self._failed = 0
        sweep.total = n_trials

    def resume(self) -> None:
        """Queue the interrupted trials of earlier starts again, and record the results of those that ended."""
        # Processes of other machines, which share a server's database, may have joined this sweep.
        only_process = self.sweep.run is not None and self._address.startswith((JOURNAL, *SQLITE))
        for trial in self.queue.trials():
            if trial.state is TrialState.RUNNING and self.queue.is_stale(trial, only_process):
                self.queue.requeue(trial)
        if self.sweep.config.sweep.retry_failed:
            self.queue.retry_failed()
        for trial in self.queue.trials():
            if trial.state in STATUS:
                self._record_earlier(trial)

    def run(self) -> None:
        """Draw trials, train them and report their scores to the study."""
        # Without a limit, a search in which every trial fails would never end.
        max_failures = self.sweep.config.sweep.max_failures or self.n_trials
        while self._failed < max_failures and not self.sweep.clock.is_up and (missing := self._missing()) > 0:
            drawn = [self.queue.ask() for _ in range(min(missing, self.sweep.jobs))]
            with self.queue.heartbeats(drawn):
                planned = [(self._overrides(trial), self._plan(trial)) for trial in drawn]
                self.sweep.launch([(overrides, spec) for overrides, spec in planned if spec is not None])
            for trial in drawn:
                self._report(trial)
        self.sweep.read_known()
        for trial in self.queue.trials():  # of other processes
            if trial.state in STATUS and trial.number not in self.sweep.results:
                self._record_earlier(trial)

    def _missing(self) -> int:
        """How many more trials to draw: as many as are neither completed, pruned, nor owned by a process."""
        states = [trial.state for trial in self.queue.trials()]
        return self.n_trials - sum(
            states.count(s) for s in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
        )

    def _plan(self, trial: FrozenTrial) -> TrialSpec | None:
        config = self.sweep.config
        study: StudyTrialArguments | None = None
        if config.sweep.pruner != "none":
            study = {
                "address": self._address,
                "name": self.sweep.name,
                "trial_id": trial._trial_id,
                "pruner": config.sweep.pruner,
                "epochs": config.epochs,
            }
        return self.sweep.plan(trial.number, self._overrides(trial), self._space.values(trial.params), study)

    def _report(self, trial: FrozenTrial) -> None:
        """Report a trial's result to the study; one that was interrupted or skipped is resumed by the next start."""
        result = self.sweep.results.get(trial.number)
        if result is None or result.status in ("interrupted", "skipped"):
            return
        objectives = self.sweep.config.sweep.objectives
        scores = [score(result.metrics, objective) for objective in objectives]
        values = [value for value in scores if value is not None and math.isfinite(value)]
        if result.status == "finished" and len(values) < len(objectives):
            absent = [metric_of(o) for o, value in zip(objectives, scores, strict=True) if value not in values]
            reason = f"the run logged no finite {', '.join(absent)}"
            result = TrialResult(result.label, "failed", result.metrics, reason, result.run, result.seconds)
            self.sweep.results[trial.number] = result
        if result.status == "finished":
            self.queue.tell(trial, TrialState.COMPLETE, values)
        elif result.status == "pruned":
            self.queue.tell(trial, TrialState.PRUNED)
        else:
            self._failed += 1
            self.queue.tell(trial, TrialState.FAIL)

    def _record_earlier(self, trial: FrozenTrial) -> None:
        """Record the result of a trial that ended in an earlier start, from its run or else from the study."""
        values = self._space.values(trial.params)
        self.sweep.record_earlier(trial.number, self._overrides(trial), values)
        if trial.number not in self.sweep.results:
            objectives = self.sweep.config.sweep.objectives
            metrics = dict(zip(map(metric_of, objectives), trial.values or [], strict=False))
            reason = "" if trial.values else "its run no longer exists"
            status = STATUS[trial.state]
            self.sweep.results[trial.number] = TrialResult(label(values), status, metrics, reason, earlier=True)

    def _overrides(self, trial: FrozenTrial) -> list[str]:
        return self._space.overrides(trial.params)

    @property
    def _space(self) -> SearchSpace:
        return self.queue.space
