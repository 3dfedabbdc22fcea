"""What a person sees: plain lines in a file, bars on a terminal, tables."""

import io
import re

import numpy as np
import pytest
from rich.console import Console

from pipeline.evaluate.metrics import Scores
from pipeline.evaluate.report import score_table
from pipeline.runtime import console
from pipeline.runtime.console import PreparationDisplay, duration
from pipeline.train.progress import TrainingDisplay

METRICS = {"train/loss": 1.25, "val/loss": 0.5, "val/mean_iou": 0.75, "train/images_per_second": 12.34}
MATRIX = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]], np.int64)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0:00"), (0.4, "0:00"), (0.5, "0:01"), (7, "0:07"), (59.6, "1:00"), (754, "12:34"), (3599.4, "59:59"),
        (3599.5, "1:00:00"), (5025, "1:23:45"), (360000, "100:00:00"),
    ],
)  # fmt: skip
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the displays see; a test moves it on."""
    now = [100.0]
    monkeypatch.setattr(console.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal of 100 columns receives."""
    screen = io.StringIO()
    monkeypatch.setattr(
        console, "text_console", lambda: Console(file=screen, force_terminal=True, width=100, markup=False, emoji=False)
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


def test_preparation_is_silent_when_it_is_soon_over_and_else_tells_every_few_seconds(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with PreparationDisplay() as progress:
        for done in range(1, 5):
            clock[0] += 1
            progress("hashing pictures", done, 4)
        for done in (1, 2, 3):
            progress("downloading [x]", 10 * done, 40)
            clock[0] += 4
        clock[0] += 4
        progress("downloading [x]", 40, 40)
        progress("unpacking", 1, None)
        clock[0] += 6
        progress("unpacking", 2, None)
        for done in (1, 8, 9, 10):  # the end is told at once of what was begun to be told
            progress("drawing", done, 10)
            clock[0] += 6 if done == 1 else 0
    assert capsys.readouterr().out.splitlines() == [
        "downloading [x]: 75 %", "downloading [x]: 100 %", "unpacking", "drawing: 80 %", "drawing: 100 %",
    ]  # fmt: skip


def test_preparation_has_a_bar_for_each_kind_of_work_on_a_terminal(terminal: io.StringIO) -> None:
    with PreparationDisplay() as progress:
        progress("hashing pictures", 1, 4)
        progress("checking pictures", 1, 2)
        progress._bars.refresh()
        shown = _text(terminal)
    assert re.search(r"hashing pictures .* 25 %", shown) and re.search(r"checking pictures .* 50 %", shown)


def _rendered(table: object, width: int = 80) -> str:
    screen = io.StringIO()
    Console(file=screen, width=width, markup=False, emoji=False).print(table)
    return screen.getvalue()


def test_the_table_has_a_row_for_each_class_and_a_dash_for_a_score_that_does_not_exist() -> None:
    scores = {"val": Scores(np.eye(3, dtype=np.int64), 0.25), "test": Scores(MATRIX, 0.5)}
    rows = [
        re.findall(r"[^│┃\s][^│┃]*", line)
        for line in _rendered(score_table(["g", "[b]:car:", "Büsche"], scores)).splitlines()
    ]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows if len(row) > 2}
    assert cells["class"] == ["val IoU", "test IoU", "test accuracy"]
    assert cells["g"] == ["1.0000", "0.6667", "0.7500"]
    assert cells["[b]:car:"] == ["1.0000", "0.5000", "0.7500"]
    assert cells["Büsche"] == ["1.0000", "-", "-"]
    assert cells["mean"] == ["1.0000", "0.5833", "0.7500 (pixels)"]
    assert cells["loss"] == ["0.2500", "0.5000"] and "nan" not in str(cells)


def test_the_consoles_text_is_what_was_given(capsys: pytest.CaptureFixture[str]) -> None:
    console.text_console().print("in /data/[/b]/:smile:", soft_wrap=True)
    assert capsys.readouterr().out == "in /data/[/b]/:smile:\n"
