"""What a person sees of training: plain lines in a file, a bar on a terminal."""

import io
import re

import pytest
from rich.console import Console

from pipeline.train import progress
from pipeline.train.progress import TrainingDisplay

METRICS = {"train/loss": 1.25, "val/loss": 0.5, "val/mean_iou": 0.75, "train/images_per_second": 12.34}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the displays see; a test moves it on."""
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


def test_without_a_terminal_there_is_a_line_for_each_epoch(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with TrainingDisplay(epochs=10, done=0, steps=4) as shown:
        for epoch, best in ((1, True), (2, False)):
            for step in range(1, 5):
                shown.step(epoch, step, 1.0, 5.0)
            shown.validating(1, 2)
            clock[0] += 30
            shown.epoch(epoch, METRICS, best, 0.75)
        shown.say("a word of [advice] :smile: " + "x" * 200)
        clock[0] += 30
        shown.epoch(10, METRICS, True, 0.75)
    assert capsys.readouterr().out.splitlines() == [
        "epoch  1/10  loss 1.2500  val loss 0.5000  val mIoU 0.7500 *  12.3 images/s  0:30, 4:30 left",
        "epoch  2/10  loss 1.2500  val loss 0.5000  val mIoU 0.7500    12.3 images/s  1:00, 4:00 left",
        "a word of [advice] :smile: " + "x" * 200,
        "epoch 10/10  loss 1.2500  val loss 0.5000  val mIoU 0.7500 *  12.3 images/s  1:30",
    ]


def test_on_a_terminal_a_bar_tells_step_loss_speed_time_left_and_best(
    clock: list[float], terminal: io.StringIO
) -> None:
    with TrainingDisplay(epochs=4, done=0, steps=10) as shown:
        shown._bar.refresh()
        assert "compiling" in _text(terminal)
        clock[0] += 10
        shown.epoch(1, METRICS, True, 0.75)
        shown.step(2, 5, 0.8125, 7.5)
        clock[0] += 5
        shown._bar.refresh()
        bar = _text(terminal)
        assert "epoch 2/4" in bar and " 5/10 " in bar and "loss 0.8125" in bar and "7.5 images/s" in bar
        assert "0:17 left" in bar and "best val mIoU 0.7500" in bar  # 10 s for 1.5 of 4 epochs when it was told
        shown.validating(3, 6)
        shown._bar.refresh()
        assert re.search(r" 3/6 +validating", _text(terminal))
    assert terminal.getvalue().rstrip().endswith("\x1b[2K") or "\x1b[?25h" in terminal.getvalue()  # the cursor is back


def test_a_resumed_run_counts_its_epochs_on_and_guesses_from_what_this_process_did(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with TrainingDisplay(epochs=10, done=6, steps=4) as shown:
        clock[0] += 20
        shown.epoch(7, METRICS, False, 0.875)
        clock[0] += 20
        shown.epoch(8, METRICS, False, 0.875)
    assert capsys.readouterr().out.splitlines() == [
        "epoch  7/10  loss 1.2500  val loss 0.5000  val mIoU 0.7500    12.3 images/s  0:20, 1:00 left",
        "epoch  8/10  loss 1.2500  val loss 0.5000  val mIoU 0.7500    12.3 images/s  0:40, 0:40 left",
    ]


def test_before_an_epoch_of_this_process_has_begun_no_time_is_guessed(
    clock: list[float], terminal: io.StringIO
) -> None:
    with TrainingDisplay(epochs=4, done=1, steps=10) as shown:
        clock[0] += 5
        shown.validating(1, 2)  # of an epoch that was interrupted after its last step
        shown.step(2, 0, 0.5, 0.0)
        shown._bar.refresh()
        told = _text(terminal)
    assert "epoch 2/4" in told and "left" not in told


def _text(screen: io.StringIO) -> str:
    """What was written since the last look, without control sequences."""
    found = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    screen.seek(0)
    screen.truncate()
    return found
