"""How trials in a launcher's processes end with the sweep: by its wish, or because it died."""

import contextlib
import time
from collections.abc import Callable, Iterator

import psutil

from pipeline.runtime import signals
from pipeline.runtime.periodic import repeating
from pipeline.runtime.process import Process
from pipeline.sweep.given_up import Failures
from pipeline.sweep.worker.client import terminate_worker

EVERY = 0.3  # seconds between two looks


@contextlib.contextmanager
def stopped_with(home: Process, failures: Failures) -> Iterator[None]:
    """In this block, in a launcher's process, the warm child is told to end when the sweep stops or is dead."""
    with _watching(lambda: failures.stopped or (home.on_this_boot and not home.is_alive), terminate_worker):
        yield


@contextlib.contextmanager
def stopping(failures: Failures) -> Iterator[None]:
    """In this block, in the sweep's process, the first signal lets the launcher's jobs end, and is raised after that.

    Launchers that see an exception kill their processes, which then could write no checkpoint. A second signal is
    raised at once.
    """
    with signals.deferred(), _watching(signals.pending, failures.stop):
        yield


def wait_for_jobs(seconds: float) -> None:
    """Wait until no process that this one's launcher started runs trials any more."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and any(map(_runs_trials, psutil.Process().children(recursive=True))):
        time.sleep(EVERY)


def _runs_trials(process: psutil.Process) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return any(part in ("pipeline.sweep.worker", "submitit.core._submit") for part in process.cmdline())
    except psutil.Error:
        return False


def _watching(happened: Callable[[], bool], then: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
    def look() -> bool:
        if found := happened():
            then()
        return found

    return repeating(EVERY, look)
