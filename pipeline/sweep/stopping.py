"""How trials in a launcher's processes end with the sweep: by its wish, or because it died."""

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from pipeline.runtime import signals
from pipeline.runtime.periodic import meanwhile
from pipeline.runtime.process import Process
from pipeline.sweep.worker.client import terminate_worker

EVERY = 0.3  # seconds between two looks


@dataclass(frozen=True)
class Failures:
    """A folder with an empty file for each failure in this start of a sweep: `sweep.max_failures`."""

    folder: Path
    most: int | None

    def count(self) -> None:
        """One more."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tempfile.mkstemp(dir=self.folder, prefix="failure-")

    def stop(self) -> None:
        """No trial is begun any more, and those that are under way end as after SIGTERM."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "stop").touch()

    def forget(self) -> None:
        """Remove what was counted; another process that works on the same sweep counts for itself."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def stopped(self) -> bool:
        """Whether all are to stop."""
        return (self.folder / "stop").exists()

    @property
    def hopeless(self) -> bool:
        """Whether there are as many as are allowed, or all are to stop."""
        return self.stopped or (self.most is not None and len(list(self.folder.glob("failure-*"))) >= self.most)


@contextlib.contextmanager
def stopped_with(home: Process, failures: Failures) -> Iterator[None]:
    """In this block, in a launcher's process, the warm child is told to end when the sweep stops or is dead."""
    with _watching(lambda: failures.stopped or (home.visible and not home.lives), terminate_worker):
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

    return meanwhile(EVERY, look)
