"""What a person sees while a run works: bars on a terminal, plain lines where stdout is a file or a pipe."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


def duration(seconds: float) -> str:
    """Seconds as 0:07, 12:34 or 1:23:45."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def text_console() -> Console:
    """A console for stdout that shows text as it is: no colours for numbers, no [markup] or :emoji: in names."""
    return Console(highlight=False, markup=False, emoji=False)


class PreparationDisplay:
    """Shows how far preparing the data is; called as `pipeline.runtime.progress.Progress`."""

    def __init__(self) -> None:
        self._console = text_console()
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
            console=self._console, transient=True, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        self._said: dict[str, float] = {}
        self._unfinished: set[str] = set()  # what was said not to be at its end

    def __enter__(self) -> "PreparationDisplay":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if self._console.is_terminal:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what)
            self._bars.update(self._tasks[what], completed=done, total=total)
            return
        # In a log, a line every few seconds and one at the end: work that is soon over says nothing.
        now = time.monotonic()
        if now - self._said.setdefault(what, now) > 5 or (what in self._unfinished and done == total):
            self._said[what] = now
            (self._unfinished.discard if done == total else self._unfinished.add)(what)
            self._console.print(f"{what}: {100 * done // total} %" if total else what, soft_wrap=True)
