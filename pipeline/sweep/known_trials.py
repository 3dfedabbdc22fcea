"""The trials of a sweep that have a run already: from its earlier starts, and from other processes of a search."""

import math
import time
from dataclasses import dataclass, field

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import STALE_AFTER
from pipeline.runtime.text import plain
from pipeline.sweep.trial_job import TrialResult
from pipeline.tracking.run_ref import RunRef
from pipeline.tracking.store import Store, Unreachable
from pipeline.tracking.sweep_runs import Child, children, wait_for_end

# Seconds within which a trial ends by itself after its sweep was killed, or is known to be dead on another host.
ORPHAN_TIMEOUT = STALE_AFTER + 30
POLL_INTERVAL = 2.0  # seconds
PREFERENCE = {"FINISHED": 3, "RUNNING": 2, "KILLED": 2, "FAILED": 1}  # among several runs of one trial


@dataclass
class KnownTrials:
    """The runs of a sweep's trials, here and in MLflow, as last read."""

    sweep: str
    tracking: TrackingConfig
    store: Store | None  # None while it does not answer: only this machine is searched then
    shared: bool  # whether other processes may work on the sweep too
    _runs: dict[str, Child] = field(default_factory=dict)  # by the trial's name

    def __post_init__(self) -> None:
        self.refresh()

    def refresh(self) -> None:
        """Read them again; of several runs of one trial, the newest of those that got furthest counts.

        While MLflow does not answer, what was known of them stays.
        """
        try:
            runs = children(self.sweep, self.tracking, self.store)
        except Unreachable:
            runs = [*children(self.sweep, self.tracking, None), *self._runs.values()]
        found: dict[str, Child] = {}
        for run in runs:
            before = found.get(run.trial)
            if before is None or PREFERENCE[run.status] > PREFERENCE[before.status]:
                found[run.trial] = run
        self._runs = found

    def find(self, trial: str) -> Child | None:
        """The run of a trial, by the trial's name (`pipeline.sweep.command.trial_name`)."""
        return self._runs.get(trial)

    def find_idle(self, trial: str, label: str) -> Child | None:
        """The run of a trial, once no process trains it any more.

        A search waits for as long as another process of it trains the trial, and takes the result. In a grid, which one
        process runs at a time, only a trial of a start that was killed can still be running, and it ends soon.

        Raises:
            UserError: it does not end.
        """
        until = time.monotonic() + (math.inf if self.shared else ORPHAN_TIMEOUT)
        announced = False
        while (run := self.find(trial)) is not None and run.alive:
            if time.monotonic() > until:
                raise UserError(f"sweep.name={self.sweep}: run {run.name} ({label}) is trained by another process")
            if not announced:
                announced = True
                print(f"{label}: waiting for run {plain(run.name)}, which another process trains", flush=True)
            if RunRef.of(run.key).in_use:
                wait_for_end(run.key, POLL_INTERVAL)
            else:  # on another machine
                time.sleep(POLL_INTERVAL)
            self.refresh()
        return run


def result_of(run: Child, label: str, earlier: bool) -> TrialResult:
    """The result of a trial whose run is FINISHED or FAILED.

    Args:
        earlier: whether it was trained by an earlier start or another process.
    """
    if run.status == "FAILED":
        reason = run.reason.partition(": ")[2] or run.reason  # without the exception's class
        return TrialResult(label, "failed", run.metrics, reason, run.name, earlier=earlier)
    return TrialResult(label, "pruned" if run.pruned else "finished", run.metrics, run=run.name, earlier=earlier)
