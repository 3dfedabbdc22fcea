"""The trials of a study: each is owned by the process that draws it, and queued again by one other if that one dies."""

import contextlib
import time
from collections.abc import Iterator, Sequence

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from pipeline.runtime.periodic import repeating
from pipeline.runtime.process import HEARTBEAT, STALE_AFTER, Process
from pipeline.runtime.seeds import derive_seed
from pipeline.sweep.search_space import SearchSpace
from pipeline.sweep.state import sweep_lock
from pipeline.sweep.study import make_sampler

# User attributes of trials. INCOMPLETE: its process died while it was drawn. REPLACES: the number of a failed trial.
OWNER, LAST_HEARTBEAT, INCOMPLETE, REPLACES = "process", "heartbeat", "void", "replaces"


class TrialQueue:
    """The trials of one sweep's study. `ask` and `tell` are Optuna's, with owners and reproducible draws."""

    def __init__(self, name: str, study: optuna.Study, space: SearchSpace, sampler: str, seed: int, jobs: int) -> None:
        self.name, self.study, self.space = name, study, space
        self._sampler, self._seed, self._jobs = sampler, seed, jobs
        self._storage = study._storage

    def trials(self) -> list[FrozenTrial]:
        """All trials in their order, without those that were replaced by another or never drawn completely."""
        found = self.study.get_trials(deepcopy=False)
        replaced = {trial.user_attrs.get(REPLACES) for trial in found}
        return [trial for trial in found if trial.number not in replaced and INCOMPLETE not in trial.user_attrs]

    def ask(self) -> FrozenTrial:
        """The next trial, owned by this process: one that waits to be resumed, or a new one.

        What is drawn is a function of the seed, of the number of trials drawn before and of their results.
        """
        found = self.study.get_trials(deepcopy=False)
        drawn = sum(not {REPLACES, INCOMPLETE} & set(trial.user_attrs) for trial in found)
        self.study.sampler = make_sampler(self._sampler, derive_seed(self._seed, "sampler", drawn), self._jobs > 1)
        trial = self.study.ask(fixed_distributions=self.space.distributions)
        trial.set_user_attr(LAST_HEARTBEAT, time.time())  # a trial that waited has that of its last process
        trial.set_user_attr(OWNER, vars(Process.this()))
        return self._storage.get_trial(trial._trial_id)

    def tell(self, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None = None) -> None:
        """End a trial, unless another process, which took this one for dead, has ended it already."""
        with contextlib.suppress(UpdateFinishedTrialError, ValueError):
            self.study.tell(trial.number, values, state=state, skip_if_finished=True)

    def requeue(self, trial: FrozenTrial) -> bool:
        """Let a RUNNING trial whose process is dead wait to be resumed; False if another process has done so.

        It keeps its number and what it has reported, which samplers and pruners depend on.
        """
        with self._exclusive():
            now = self._storage.get_trial(trial._trial_id)
            if now.state is not TrialState.RUNNING or now.user_attrs.get(OWNER) != trial.user_attrs.get(OWNER):
                return False
            # Until another process draws it, this one owns it, and it is not stale.
            self._storage.set_trial_user_attr(trial._trial_id, OWNER, vars(Process.this()))
            if now.distributions.keys() == self.space.distributions.keys():
                self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
            else:  # its process died while drawing it: the next one is drawn in its place, with the same values
                self._storage.set_trial_user_attr(trial._trial_id, INCOMPLETE, True)
                self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            return True

    def retry_failed(self) -> None:
        """Queue the parameters of the failed trials again."""
        with self._exclusive():
            for trial in self.trials():
                if trial.state is TrialState.FAIL:
                    self.study.enqueue_trial(trial.params, user_attrs={REPLACES: trial.number})

    def is_stale(self, trial: FrozenTrial, only_process: bool) -> bool:
        """Whether the process of a RUNNING trial is dead, or has sent no heartbeat for long.

        Args:
            only_process: whether no other process can be working on the sweep.
        """
        owner = Process.read(trial.user_attrs.get(OWNER))
        if owner is not None and owner.on_this_boot:
            return not owner.is_alive
        started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        last = float(trial.user_attrs.get(LAST_HEARTBEAT, started))
        return only_process or time.time() - last > STALE_AFTER

    def heartbeats(self, trials: Sequence[FrozenTrial]) -> contextlib.AbstractContextManager[None]:
        """In this block, show other machines that the trials are alive."""

        def beat() -> None:
            for trial in trials:
                with contextlib.suppress(Exception):  # the storage does not answer, or the trial has ended
                    self._storage.set_trial_user_attr(trial._trial_id, LAST_HEARTBEAT, time.time())

        return repeating(HEARTBEAT, beat)

    @contextlib.contextmanager
    def _exclusive(self) -> Iterator[None]:
        """One process at a time, among those in this folder and, on PostgreSQL, on all machines."""
        engine = getattr(getattr(self._storage, "_backend", self._storage), "engine", None)
        with contextlib.ExitStack() as stack:
            stack.enter_context(sweep_lock(self.name))
            if engine is not None and engine.dialect.name == "postgresql":
                connection = stack.enter_context(engine.begin())  # the lock ends with the transaction
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": self.name})
            yield
