"""How trials in a launcher's processes end with the sweep: after too many failures, a signal, or the sweep's death."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.runtime import signals
from pipeline.runtime.periodic import repeating
from pipeline.runtime.process import Process
from pipeline.sweep.worker.client import terminate_worker

POLL_INTERVAL = 0.3  # seconds


@dataclass(frozen=True)
class StopState:
    """What all processes of one start of a sweep share: how many trials have failed, and whether to stop.

    A folder with an empty file for each failure, and one that requests the stop.
    """

    folder: Path
    max_failures: int | None  # None: any number

    def add_failure(self) -> None:
        """Count one failed trial."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tempfile.mkstemp(dir=self.folder, prefix="failure-")

    def request_stop(self) -> None:
        """Start no further trial, and let those that are running end as after SIGTERM."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "stop").touch()

    def remove(self) -> None:
        """Remove the folder."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def stop_requested(self) -> bool:
        """Whether running trials are to end."""
        return (self.folder / "stop").exists()

    @property
    def forbids_trials(self) -> bool:
        """Whether no further trial may start: a stop was requested, or `sweep.max_failures` is reached."""
        failures = len(list(self.folder.glob("failure-*")))
        return self.stop_requested or (self.max_failures is not None and failures >= self.max_failures)


def ends_with_sweep(sweep_process: Process, state: StopState) -> contextlib.AbstractContextManager[None]:
    """In this block, in a launcher's process, the warm child is terminated when the sweep stops or is dead."""

    def over() -> bool:
        return state.stop_requested or (sweep_process.on_this_boot and not sweep_process.is_alive)

    return _when(over, terminate_worker)


@contextlib.contextmanager
def jobs_end_on_signal(state: StopState) -> Iterator[None]:
    """In this block, in the sweep's process, the first signal ends the launcher's jobs; it is raised after the block.

    Launchers that see an exception kill their processes, which then could write no checkpoint. A second signal is
    raised at once.
    """
    with signals.deferred(), _when(signals.pending, state.request_stop):
        yield


def wait_for_jobs(timeout: float) -> None:
    """Wait until no process that this one's launcher started runs trials any more.

    Args:
        timeout: seconds.
    """
    until = time.monotonic() + timeout
    while time.monotonic() < until and any(map(_runs_trials, psutil.Process().children(recursive=True))):
        time.sleep(POLL_INTERVAL)


def _runs_trials(process: psutil.Process) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return any(part in ("pipeline.sweep.worker", "submitit.core._submit") for part in process.cmdline())
    except psutil.Error:
        return False


def _when(condition: Callable[[], bool], action: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
    """In this block, call the action once when the condition holds."""

    def poll() -> bool:
        holds = condition()
        if holds:
            action()
        return holds

    return repeating(POLL_INTERVAL, poll)
