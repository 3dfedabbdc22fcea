"""What a person sees while a run works: bars on a terminal, plain lines where stdout is a file or a pipe."""

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from pipeline.evaluate.metrics import Scores, accuracy_per_class, iou_per_class


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


class TrainingDisplay:
    """A line for each epoch, and on a terminal a bar that moves with each step."""

    def __init__(self, epochs: int, done: int, steps: int) -> None:
        """Args: done: epochs that an earlier process trained; steps: of an epoch."""
        self.console = text_console()
        self.epochs, self.done, self.steps = epochs, done, steps
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[doing]}"),
            TextColumn("{task.fields[told]}", style="dim"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task("", total=steps, epoch=done + 1, epochs=epochs, doing="compiling", told="")
        self._started = time.perf_counter()
        self._best = ""

    def __enter__(self) -> "TrainingDisplay":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Epoch from 1, steps done in it, mean loss of the epoch so far."""
        speed = f"{images_per_second:.1f} images/s  " if images_per_second else ""
        told = f"{speed}{self._left(epoch - 1 + step / self.steps)}{self._best}"
        self._bar.update(self._task, total=self.steps, completed=step, epoch=epoch, doing=f"loss {loss:.4f}", told=told)

    def validating(self, done: int, total: int) -> None:
        """Pictures of the validation split scored so far."""
        self._bar.update(self._task, total=total, completed=done, doing="validating")

    def epoch(self, epoch: int, metrics: dict[str, float], best: bool, best_iou: float) -> None:
        """The line that stays when an epoch (from 1) is over."""
        self._best = f"  best val mIoU {best_iou:.4f}"
        self.console.print(
            f"epoch {epoch:>{len(str(self.epochs))}}/{self.epochs}  loss {metrics['train/loss']:.4f}  "
            f"val loss {metrics['val/loss']:.4f}  val mIoU {metrics['val/mean_iou']:.4f}{' *' if best else '  '}  "
            f"{metrics['train/images_per_second']:.1f} images/s  "
            f"{duration(time.perf_counter() - self._started)}{self._left(epoch, ', ')}",
            soft_wrap=True,
        )

    def say(self, text: str) -> None:
        """A line of its own above the bar."""
        self.console.print(text, soft_wrap=True)

    def _left(self, epochs_done: float, before: str = "") -> str:
        if not self.done < epochs_done < self.epochs:
            return ""
        elapsed = time.perf_counter() - self._started
        return f"{before}{duration(elapsed / (epochs_done - self.done) * (self.epochs - epochs_done))} left"


def score_table(classes: list[str], scores: dict[str, Scores]) -> Table:
    """IoU of each class and the totals, a column for each split; accuracy of each class for the last one."""
    table = Table(title="scores", title_justify="left", min_width=48)
    table.add_column("class")
    for split in scores:
        table.add_column(f"{split} IoU", justify="right")
    last = list(scores)[-1]
    table.add_column(f"{last} accuracy", justify="right")
    ious = {split: iou_per_class(found.confusion_matrix) for split, found in scores.items()}
    accuracy = accuracy_per_class(scores[last].confusion_matrix)
    for index, name in enumerate(classes):
        values = [*(ious[split][index] for split in scores), accuracy[index]]
        # A class that is nowhere in the split has no score, and "nan" would look like a fault.
        table.add_row(name, *("-" if value != value else f"{value:.4f}" for value in values))
    table.add_section()
    table.add_row(
        "mean", *(f"{s.mean_iou:.4f}" for s in scores.values()), f"{scores[last].pixel_accuracy:.4f} (pixels)"
    )
    table.add_row("loss", *(f"{s.loss:.4f}" for s in scores.values()), "")
    return table
