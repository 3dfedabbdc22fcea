"""The search: trials are asked of a study, run in batches as large as the launcher runs at once, and told."""

import math
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pipeline.config.addresses import storage_address
from pipeline.config.schema import Config
from pipeline.runtime.errors import RunFailed, UserError
from pipeline.sweep.command import Command, distinct_datasets, label, sweep_name
from pipeline.sweep.objectives import ALIASES, score
from pipeline.sweep.search_space import SearchSpace, search_space
from pipeline.sweep.start import open_sweep
from pipeline.sweep.study import check_sampler, open_storage, open_study
from pipeline.sweep.sweep import Sweep
from pipeline.sweep.trial_job import TrialResult, TrialSpec
from pipeline.sweep.trial_queue import TrialQueue
from pipeline.sweep.worker.protocol import StudyTrialArguments

ENDED = (TrialState.COMPLETE, TrialState.PRUNED)


def run_search(command: Command, config: Config, n_trials: Any) -> list[TrialResult]:
    """Run what was typed; see `pipeline.sweep.plugins.OptunaSweeper`."""
    if not isinstance(n_trials, int) or n_trials < 1:
        raise UserError(f"hydra.sweeper.n_trials={n_trials}: at least 1 expected")
    space = search_space(command.parsed())
    address = storage_address(config.sweep.storage)
    check_sampler(config.sweep, address)
    storage = open_storage(address)
    name = sweep_name(config, [*command.origin.typed, *command.arguments])
    first = [f"{key}={value}" for key, value in space.fixed.items()]
    with open_sweep(command, config, distinct_datasets(command, [first]), join=True) as sweep:
        study = open_study(storage, name, config.sweep, space.described(), config.epochs)
        queue = TrialQueue(name, study, space, config.sweep.sampler, config.seed, sweep.jobs)
        search = Search(sweep, queue, address, n_trials)
        search.take_up()
        search.run()
        missing = sweep.end()
    if missing:
        raise RunFailed(missing)
    return list(sweep.outcomes.values())


class Search:
    """One process's work on a study, until as many trials as are wanted are completed or pruned."""

    def __init__(self, sweep: Sweep, queue: TrialQueue, address: str, n_trials: int) -> None:
        self.sweep, self.queue, self.n_trials, self._address = sweep, queue, n_trials, address
        self._failed = 0
        sweep.total = n_trials

    def take_up(self) -> None:
        """Note what became of the trials of earlier starts, and queue again what was interrupted."""
        alone = self.sweep.run is not None
        for trial in self.queue.trials():
            if trial.state is TrialState.RUNNING and self.queue.stale(trial, alone):
                self.queue.take_over(trial)
        if self.sweep.config.sweep.retry_failed:
            self.queue.retry_failed()
        for trial in self.queue.trials():
            if trial.state in (*ENDED, TrialState.FAIL):
                self._note_earlier(trial)

    def run(self) -> None:
        """Ask, run and tell."""
        # Without a limit a search whose every trial fails would never end.
        most = self.sweep.config.sweep.max_failures or self.n_trials
        while self._failed < most and (missing := self._missing()) > 0:
            asked = [self.queue.ask() for _ in range(min(missing, self.sweep.jobs))]
            with self.queue.beating(asked):
                planned = [(self._overrides(trial), self._plan(trial)) for trial in asked]
                self.sweep.launch([(overrides, spec) for overrides, spec in planned if spec is not None])
            for trial in asked:
                self._tell(trial)

    def _missing(self) -> int:
        """How many more trials are to be asked: neither completed, pruned, nor in the hands of a process."""
        states = [trial.state for trial in self.queue.trials()]
        taken = sum(state in (*ENDED, TrialState.RUNNING) for state in states)
        return self.n_trials - taken

    def _plan(self, trial: FrozenTrial) -> TrialSpec | None:
        sweep, config = self.sweep, self.sweep.config
        study: StudyTrialArguments | None = None
        if config.sweep.pruner != "none":
            study = {
                "address": self._address,
                "name": sweep.name,
                "trial_id": trial._trial_id,
                "pruner": config.sweep.pruner,
                "epochs": config.epochs,
            }
        return sweep.plan(trial.number, self._overrides(trial), self._space.values(trial.params), study)

    def _tell(self, trial: FrozenTrial) -> None:
        outcome = self.sweep.outcomes.get(trial.number)
        if outcome is None or outcome.status in ("interrupted", "skipped"):
            return  # it stays RUNNING, and the next start takes it over
        objectives = self.sweep.config.sweep.objectives
        scores = [score(outcome.metrics, objective) for objective in objectives]
        values = [value for value in scores if value is not None and math.isfinite(value)]
        if outcome.status == "finished" and len(values) < len(objectives):
            absent = ", ".join(ALIASES.get(o, o) for o, v in zip(objectives, scores, strict=True) if v not in values)
            why = f"the run logged no finite {absent}"
            outcome = TrialResult(outcome.label, "failed", outcome.metrics, why, outcome.run, seconds=outcome.seconds)
            self.sweep.outcomes[trial.number] = outcome
        if outcome.status == "finished":
            self.queue.tell(trial, TrialState.COMPLETE, values)
        elif outcome.status == "pruned":
            self.queue.tell(trial, TrialState.PRUNED)
        else:
            self._failed += 1
            self.queue.tell(trial, TrialState.FAIL)

    def _note_earlier(self, trial: FrozenTrial) -> None:
        """The outcome of a trial that an earlier start ended, by its run or, where that is gone, by the study."""
        self.sweep.note_known(trial.number, self._overrides(trial), self._space.values(trial.params))
        if trial.number not in self.sweep.outcomes:
            states = {TrialState.COMPLETE: "finished", TrialState.PRUNED: "pruned", TrialState.FAIL: "failed"}
            named = label(self._space.values(trial.params))
            objectives = [ALIASES.get(objective, objective) for objective in self.sweep.config.sweep.objectives]
            metrics = dict(zip(objectives, trial.values or [], strict=False))
            why = "" if trial.values else "its run is gone"
            self.sweep.outcomes[trial.number] = TrialResult(named, states[trial.state], metrics, why, earlier=True)

    def _overrides(self, trial: FrozenTrial) -> list[str]:
        return self._space.overrides(trial.params)

    @property
    def _space(self) -> SearchSpace:
        return self.queue.space
