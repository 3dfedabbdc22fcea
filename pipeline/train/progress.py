"""Progress of training: a line for each epoch, and on a terminal a bar that moves with each step."""

import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.runtime.console import duration, text_console


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
        """Images of the validation split scored so far."""
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
