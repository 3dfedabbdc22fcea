"""Output on stdout: progress bars on a terminal, plain lines in a file or a pipe."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

SECONDS_BETWEEN = 5.0  # lines of the same work in a log


def duration(seconds: float) -> str:
    """Seconds as 0:07, 12:34 or 1:23:45."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def text_console() -> Console:
    """A console for stdout that prints text as it is: no colours for numbers, no [markup] or :emoji: in names."""
    return Console(highlight=False, markup=False, emoji=False)


class PreparationDisplay:
    """Displays the progress of preparing the data; an instance is a `pipeline.runtime.progress.Progress`.

    On a terminal each kind of work has a bar. In a log it has a line every few seconds and one at its end; work that
    takes less has none.
    """

    def __init__(self) -> None:
        self._console = text_console()
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
            console=self._console, transient=True, disable=not self._console.is_terminal,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        self._printed: dict[str, float] = {}  # when a line was last printed, or the work began
        self._unfinished: set[str] = set()  # work whose last line was not that of its end

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
        now = time.monotonic()
        if now - self._printed.setdefault(what, now) > SECONDS_BETWEEN or (what in self._unfinished and done == total):
            self._printed[what] = now
            (self._unfinished.discard if done == total else self._unfinished.add)(what)
            self._console.print(f"{what}: {100 * done // total} %" if total else what, soft_wrap=True)
