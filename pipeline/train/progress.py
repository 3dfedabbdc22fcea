"""What a person sees of training: a line for each epoch, and on a terminal a bar that moves with each step."""

import math
import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.runtime.console import duration, text_console


class TrainingDisplay:
    """Shows the progress of training while it is used as a context manager. Epochs are counted from 1."""

    def __init__(
        self, epochs: int, done: int, steps: int, epoch_seconds: float = 0.0, most_seconds: float = math.inf
    ) -> None:
        """Args:
        epochs: of the whole run.
        done: epochs that earlier processes trained.
        steps: in each epoch.
        epoch_seconds: that an epoch took in an earlier process; 0: not known.
        most_seconds: after which training ends.
        """
        self.console = text_console()
        self.epochs, self.done, self.steps = epochs, done, steps
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[activity]}"),
            TextColumn("{task.fields[details]}", style="dim"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self._task = self._bar.add_task(
            "", total=steps, epoch=done + 1, epochs=epochs, activity="compiling", details=""
        )
        self._started = time.perf_counter()
        self._best = ""
        self._epoch_seconds, self._most_seconds = epoch_seconds, most_seconds

    def __enter__(self) -> "TrainingDisplay":
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show_step(self, epoch: int, step: int, loss: float, images_per_second: float) -> None:
        """Move the bar.

        Args:
            step: steps done in the epoch.
            loss: mean of the epoch so far.
            images_per_second: 0 where it is not known yet.
        """
        speed = f"{images_per_second:.1f} images/s  " if images_per_second else ""
        details = f"{speed}{self._time_left(epoch - 1 + step / self.steps)}{self._best}"
        self._bar.update(
            self._task,
            total=self.steps,
            completed=step,
            epoch=epoch,
            activity=f"loss {loss:.4f}",
            details=details,
        )

    def show_validation(self, done: int, total: int) -> None:
        """Move the bar: of so many images of the validation split, so many are scored."""
        self._bar.update(self._task, total=total, completed=done, activity="validating")

    def print_epoch(
        self, epoch: int, metrics: dict[str, float], is_best: bool, best_iou: float, epoch_seconds: float
    ) -> None:
        """Print the line of an epoch that is closed.

        Args:
            metrics: of the epoch, by their names in MLflow; 0 images per second: not known.
            best_iou: the highest validation mean IoU so far, this epoch's included.
            epoch_seconds: that each of the next epochs will take.
        """
        self._best, self._epoch_seconds = f"  best val mIoU {best_iou:.4f}", epoch_seconds
        rate = metrics["train/images_per_second"]
        self.print(
            f"epoch {epoch:>{len(str(self.epochs))}}/{self.epochs}  loss {metrics['train/loss']:.4f}  "
            f"val loss {metrics['val/loss']:.4f}  val mIoU {metrics['val/mean_iou']:.4f}{' *' if is_best else '  '}  "
            f"{f'{rate:.1f} images/s  ' if rate else ''}"
            f"{duration(time.perf_counter() - self._started)}{self._time_left(epoch, ', ')}"
        )

    def print(self, text: str) -> None:
        """Print a line above the bar."""
        self.console.print(text, soft_wrap=True)

    def _time_left(self, epochs_done: float, prefix: str = "") -> str:
        """Empty before anything is known of the pace, and when training is over."""
        if not self.done < epochs_done < self.epochs:
            return ""
        elapsed = time.perf_counter() - self._started
        pace = self._epoch_seconds or elapsed / (epochs_done - self.done)
        left = min(pace * (self.epochs - epochs_done), self._most_seconds - elapsed)
        return f"{prefix}{duration(max(0.0, left))} left"
