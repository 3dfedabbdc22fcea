"""The console: plain lines in a file, bars on a terminal."""

import io
import re

import pytest
from rich.console import Console

from pipeline.runtime import console
from pipeline.runtime.console import PreparationDisplay, duration, plain_table


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
    """The time that the displays see; a test sets it."""
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


def _text(screen: io.StringIO) -> str:
    """What was written since the last call, without control sequences."""
    found = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue())
    screen.seek(0)
    screen.truncate()
    return found


def test_a_log_gets_a_line_every_few_seconds(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with PreparationDisplay() as progress:
        for done in range(1, 5):
            clock[0] += 1
            progress("hashing images", done, 4)
        for done in (1, 2, 3):
            progress("downloading [x]", 10 * done, 40)
            clock[0] += 4
        clock[0] += 4
        progress("downloading [x]", 40, 40)
        progress("unpacking", 1, None)
        clock[0] += 6
        progress("unpacking", 2, None)
        for done in (1, 8, 9, 10):  # once a line was printed, the end is printed at once
            progress("drawing", done, 10)
            clock[0] += 6 if done == 1 else 0
    assert capsys.readouterr().out.splitlines() == [
        "downloading [x]: 75 %", "downloading [x]: 100 %", "unpacking", "drawing: 80 %", "drawing: 100 %",
    ]  # fmt: skip


def test_a_terminal_has_a_bar_for_each_kind_of_work(terminal: io.StringIO) -> None:
    with PreparationDisplay() as progress:
        progress("hashing images", 1, 4)
        progress("checking images", 1, 2)
        progress._bars.refresh()
        shown = _text(terminal)
    assert re.search(r"hashing images .* 25 %", shown) and re.search(r"checking images .* 50 %", shown)


def test_the_console_prints_text_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    console.text_console().print("in /data/[/b]/:smile:", soft_wrap=True)
    assert capsys.readouterr().out == "in /data/[/b]/:smile:\n"


# ---- tables of text


def test_a_table_aligns_columns_and_cuts_nothing() -> None:
    rows = [["*", "a" * 32, "8", "0.5"], ["", "b" * 300, "16", "-"]]
    blanks = " " * 268
    assert plain_table(["", "run", "width", "IoU"], rows, right=["IoU"]).splitlines() == [
        f"   run{blanks}{' ' * 29}  width  IoU",
        f"*  {'a' * 32}{blanks}  8      0.5",
        f"   {'b' * 300}  16       -",
    ]


def test_a_table_shows_any_text_as_it_is() -> None:
    texts = ["[b]bold[/b] :car:", "$x$", "学习率", "x\x1b[2J\n\ty", "", "\u202ereversed"]
    heading, *lines = plain_table(["[i]", "n"], [[text, "1"] for text in texts]).splitlines()
    assert heading.split() == ["[i]", "n"]
    shown = [line.removesuffix("1").strip() for line in lines]
    assert shown == [*texts[:3], "x\\x1b[2J\\n\\ty", "", "\\u202ereversed"]
    assert lines[2].index("1") == lines[0].index("1") - 3  # each of the three characters is two columns wide


def test_a_table_without_rows_is_its_headings() -> None:
    assert plain_table(["a", "b"], []) == "a  b"
