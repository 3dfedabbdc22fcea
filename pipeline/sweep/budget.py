"""The time that a sweep may take (`sweep.max_minutes`), counted over its starts on this machine."""

import contextlib
import time
from collections.abc import Callable

from pipeline.runtime.files import write_atomic
from pipeline.runtime.periodic import repeating
from pipeline.sweep.state import SWEEPS

FILE = "seconds"  # in the sweep's folder
WRITE_INTERVAL = 5.0  # seconds; a killed sweep forgets no more than these
POLL_INTERVAL = 0.3  # seconds


class SweepClock:
    """The seconds that a sweep has worked. Of several processes of a search, the one that owns its run writes them."""

    def __init__(self, name: str, max_minutes: float | None, writes: bool) -> None:
        self.max_minutes, self._writes = max_minutes, writes
        self._file = SWEEPS / name / FILE
        self._earlier, self._started = self._read(), time.monotonic()

    @property
    def seconds(self) -> float:
        """In all starts."""
        return self._earlier + time.monotonic() - self._started

    @property
    def left(self) -> float | None:
        """Seconds until the sweep ends, at least 0; None without a limit."""
        return None if self.max_minutes is None else max(0.0, 60 * self.max_minutes - self.seconds)

    @property
    def is_up(self) -> bool:
        """Whether no trial may begin any more."""
        return self.left == 0

    def running(self) -> contextlib.AbstractContextManager[None]:
        """In this block the time is written every few seconds."""
        return repeating(WRITE_INTERVAL, self.write) if self._writes else contextlib.nullcontext()

    def write(self) -> None:
        """Write the time for the next start."""
        if self._writes:
            with contextlib.suppress(OSError):  # a full disk, which the trials report
                write_atomic(self._file, f"{self.seconds:.1f}", flushed=False)

    def ending(self, end: Callable[[], None]) -> contextlib.AbstractContextManager[None]:
        """In this block, call `end` once when the time is up."""

        def poll() -> bool:
            if up := self.is_up:
                end()
            return up

        return contextlib.nullcontext() if self.max_minutes is None else repeating(POLL_INTERVAL, poll)

    def _read(self) -> float:
        try:
            seconds = float(self._file.read_text())
        except (OSError, ValueError):
            return 0.0
        return seconds if seconds > 0 else 0.0  # nan is not
