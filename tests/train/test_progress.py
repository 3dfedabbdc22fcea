"""What a person sees of training: plain lines in a file, a progress bar on a terminal."""

import io
import re

import pytest
from rich.console import Console

from pipeline.train import progress
from pipeline.train.progress import TrainingDisplay

METRICS = {"train/loss": 1.25, "val/loss": 0.5, "val/mean_iou": 0.75, "train/images_per_second": 12.34}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the display sees; a test advances it."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 100 columns receives."""
    screen = io.StringIO()
    monkeypatch.setattr(
        progress,
        "text_console",
        lambda: Console(file=screen, force_terminal=True, width=100, markup=False, emoji=False),
    )
    return screen


def test_without_a_terminal_every_epoch_has_a_line(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay(epochs=10, done=0, steps=4) as shown:
        for epoch, best in ((1, True), (2, False)):
            for step in range(1, 5):
                shown.show_step(epoch, step, 1.0, 5.0)
            shown.show_validation(1, 2)
            clock[0] += 30
            shown.print_epoch(epoch, METRICS, best, 0.75, 30.0)
        shown.print("some [advice] :smile: " + "x" * 200)
        clock[0] += 30
        shown.print_epoch(10, METRICS, True, 0.75, 30.0)
    assert capsys.readouterr().out.splitlines() == [
        "epoch  1/10  loss 1.2500  val loss 0.5000  val mIoU 0.7500 *  12.3 images/s  0:30, 4:30 left",
        "epoch  2/10  loss 1.2500  val loss 0.5000  val mIoU 0.7500    12.3 images/s  1:00, 4:00 left",
        "some [advice] :smile: " + "x" * 200,
        "epoch 10/10  loss 1.2500  val loss 0.5000  val mIoU 0.7500 *  12.3 images/s  1:30",
    ]


def test_on_a_terminal_a_bar_shows_the_progress(clock: list[float], terminal: io.StringIO) -> None:
    with TrainingDisplay(epochs=4, done=0, steps=10) as shown:
        shown._bar.refresh()
        assert "compiling" in _text(terminal)
        clock[0] += 10
        shown.print_epoch(1, METRICS, True, 0.75, 8.0)
        shown.show_step(2, 5, 0.8125, 7.5)
        clock[0] += 5
        shown._bar.refresh()
        bar = _text(terminal)
        assert "epoch 2/4" in bar and " 5/10 " in bar and "loss 0.8125" in bar and "7.5 images/s" in bar
        assert "0:20 left" in bar and "best val mIoU 0.7500" in bar  # 2.5 epochs of 8 s, without compiling
        shown.show_validation(3, 6)
        shown._bar.refresh()
        assert re.search(r" 3/6 +validating", _text(terminal))
    assert terminal.getvalue().rstrip().endswith("\x1b[2K") or "\x1b[?25h" in terminal.getvalue()  # the cursor is back


def test_a_resumed_run_knows_the_pace_of_before(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    """Its first epoch here may have been one step, which compiles, or none."""
    with TrainingDisplay(epochs=10, done=6, steps=4, epoch_seconds=5.0) as shown:
        clock[0] += 20
        shown.print_epoch(7, METRICS | {"train/images_per_second": 0.0}, False, 0.875, 5.0)
        clock[0] += 6
        shown.print_epoch(8, METRICS, False, 0.875, 6.0)
    assert capsys.readouterr().out.splitlines() == [
        "epoch  7/10  loss 1.2500  val loss 0.5000  val mIoU 0.7500    0:20, 0:15 left",
        "epoch  8/10  loss 1.2500  val loss 0.5000  val mIoU 0.7500    12.3 images/s  0:26, 0:12 left",
    ]


def test_no_more_time_is_left_than_the_limit(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay(epochs=10, done=0, steps=4, most_seconds=60) as shown:
        clock[0] += 20
        shown.print_epoch(1, METRICS, False, 0.875, 20.0)
    assert capsys.readouterr().out.splitlines()[0].endswith("0:20, 0:40 left")


def test_before_the_first_step_no_time_is_estimated(clock: list[float], terminal: io.StringIO) -> None:
    with TrainingDisplay(epochs=4, done=1, steps=10) as shown:
        clock[0] += 5
        shown.show_validation(1, 2)  # of an epoch whose last step an earlier process took
        shown.show_step(2, 0, 0.5, 0.0)
        shown._bar.refresh()
        bar = _text(terminal)
    assert "epoch 2/4" in bar and "left" not in bar


def _text(screen: io.StringIO) -> str:
    """What was written since the last call, without control sequences."""
    found = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    screen.seek(0)
    screen.truncate()
    return found
