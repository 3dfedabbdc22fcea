"""The trials of a study: drawn, owned by a process, told, and taken over by exactly one other when that is dead."""

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

OWNER, BEAT, VOID, REPLACES = "process", "heartbeat", "void", "replaces"  # user attributes of trials


class TrialQueue:
    """The trials of one sweep's study."""

    def __init__(self, name: str, study: optuna.Study, space: SearchSpace, sampler: str, seed: int, jobs: int) -> None:
        self.name, self.study, self.space = name, study, space
        self._sampler, self._seed, self._jobs = sampler, seed, jobs
        self._storage = study._storage

    def trials(self) -> list[FrozenTrial]:
        """All trials but those that another has replaced or that were never wholly drawn, in their order."""
        found = self.study.get_trials(deepcopy=False)
        replaced = {trial.user_attrs.get(REPLACES) for trial in found}
        return [trial for trial in found if trial.number not in replaced and VOID not in trial.user_attrs]

    def ask(self) -> FrozenTrial:
        """The next trial, owned by this process: one that waits to be gone on with, or a new one.

        What is drawn is a function of the seed, of the number of trials drawn before and of their results.
        """
        found = self.study.get_trials(deepcopy=False)
        drawn = sum(not {REPLACES, VOID} & set(trial.user_attrs) for trial in found)
        self.study.sampler = make_sampler(self._sampler, derive_seed(self._seed, "sampler", drawn), self._jobs > 1)
        trial = self.study.ask(fixed_distributions=self.space.distributions)
        trial.set_user_attr(OWNER, vars(Process.this()))
        return self._storage.get_trial(trial._trial_id)

    def tell(self, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None = None) -> None:
        """End a trial; one that was taken over, since this process was thought to be dead, has been ended already."""
        with contextlib.suppress(UpdateFinishedTrialError, ValueError):
            self.study.tell(trial.number, values, state=state, skip_if_finished=True)

    def take_over(self, trial: FrozenTrial) -> bool:
        """Let a RUNNING trial whose process is dead wait to be gone on with; False if another process did it.

        It stays the trial that it was: its number and what it has reported are what samplers and pruners go by.
        """
        with self._alone():
            now = self._storage.get_trial(trial._trial_id)
            if now.state is not TrialState.RUNNING or now.user_attrs.get(OWNER) != trial.user_attrs.get(OWNER):
                return False
            # Until another has it, it is in the hands of this process, and not stale.
            self._storage.set_trial_user_attr(trial._trial_id, OWNER, vars(Process.this()))
            if now.distributions.keys() == self.space.distributions.keys():
                self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
            else:  # its process died while it was drawn: the next one is drawn in its place, and the same
                self._storage.set_trial_user_attr(trial._trial_id, VOID, True)
                self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
            return True

    def retry_failed(self) -> None:
        """Queue the parameters of the trials that failed again."""
        with self._alone():
            for trial in self.trials():
                if trial.state is TrialState.FAIL:
                    self.study.enqueue_trial(trial.params, user_attrs={REPLACES: trial.number})

    def stale(self, trial: FrozenTrial, alone: bool) -> bool:
        """Whether a RUNNING trial's process is dead, or was not heard of for long.

        Args:
            alone: whether no other process can work on the sweep.
        """
        owner = Process.read(trial.user_attrs.get(OWNER))
        if owner is not None and owner.on_this_boot:
            return not owner.is_alive
        started = trial.datetime_start.timestamp() if trial.datetime_start else 0.0
        heard = float(trial.user_attrs.get(BEAT, started))
        return alone or time.time() - heard > STALE_AFTER

    def beating(self, trials: Sequence[FrozenTrial]) -> contextlib.AbstractContextManager[None]:
        """In this block other machines are told that the trials are alive."""

        def beat() -> None:
            for trial in trials:
                with contextlib.suppress(Exception):  # a storage that does not answer, or a trial that is over
                    self._storage.set_trial_user_attr(trial._trial_id, BEAT, time.time())

        return repeating(HEARTBEAT, beat)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time, of those in this folder and, on PostgreSQL, of all machines."""
        engine = getattr(getattr(self._storage, "_backend", self._storage), "engine", None)
        with contextlib.ExitStack() as held:
            held.enter_context(sweep_lock(self.name))
            if engine is not None and engine.dialect.name == "postgresql":
                connection = held.enter_context(engine.begin())  # the lock ends with the transaction
                connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": self.name})
            yield
