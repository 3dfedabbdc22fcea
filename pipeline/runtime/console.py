"""Output on stdout: progress bars on a terminal, plain lines in a file or a pipe."""

import io
import time
from collections.abc import Collection, Iterable, Sequence
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from pipeline.runtime.text import plain

UNLIMITED = 10**6  # characters in a line

SECONDS_BETWEEN = 5.0  # lines of the same work in a log


def duration(seconds: float) -> str:
    """Seconds as 0:07, 12:34 or 1:23:45."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def text_console() -> Console:
    """A console for stdout that prints text as it is: no colours for numbers, no [markup] or :emoji: in names."""
    return Console(highlight=False, markup=False, emoji=False)


def plain_table(headings: Sequence[str], rows: Iterable[Sequence[str]], right: Collection[str] = ()) -> str:
    """Columns of plain text, two blanks apart: the same on a terminal, in a file and in a pipe.

    No cell is cut or wrapped, however long a line becomes, so that run ids can be copied. Cells are shown as they are,
    without rich's markup, and with control characters escaped.

    Args:
        headings: one for each column.
        rows: one cell for each column.
        right: headings of the columns that are aligned to the right, as numbers are.

    Returns:
        The lines, without a newline at the end.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for heading in headings:
        table.add_column(Text(plain(heading)), justify="right" if heading in right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    output = io.StringIO()
    Console(file=output, width=UNLIMITED, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in output.getvalue().splitlines())


class PreparationDisplay:
    """Displays the progress of preparing the data; an instance is a `pipeline.runtime.progress.Progress`.

    On a terminal each kind of work has a bar. In a log it has a line every few seconds and one at its end; work that
    takes less has none.
    """

    def __init__(self) -> None:
        self._console = text_console()
        self._on_terminal = self._console.is_terminal  # which takes longer to find out than to report an image
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn(),
            console=self._console, transient=True, disable=not self._on_terminal,
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
        if self._on_terminal:
            if what not in self._tasks:
                self._tasks[what] = self._bars.add_task(what)
            self._bars.update(self._tasks[what], completed=done, total=total)
            return
        now = time.monotonic()
        if now - self._printed.setdefault(what, now) > SECONDS_BETWEEN or (what in self._unfinished and done == total):
            self._printed[what] = now
            (self._unfinished.discard if done == total else self._unfinished.add)(what)
            self._console.print(f"{what}: {100 * done // total} %" if total else what, soft_wrap=True)
