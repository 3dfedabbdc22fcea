"""The time that a sweep may take: counted over its starts, and what happens when it is up."""

import threading
from pathlib import Path

import pytest

from pipeline.sweep import budget
from pipeline.sweep.budget import SweepClock
from pipeline.sweep.state import SWEEPS


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that clocks see, in an empty folder; a test advances it."""
    monkeypatch.chdir(tmp_path)
    (SWEEPS / "s").mkdir(parents=True)
    now = [100.0]
    monkeypatch.setattr(budget.time, "monotonic", lambda: now[0])
    return now


def test_earlier_starts_count(clock: list[float]) -> None:
    first = SweepClock("s", 2.0, writes=True)
    clock[0] += 70
    assert (first.seconds, first.left, first.is_up) == (70, 50, False)
    first.write()
    clock[0] += 1000  # nothing worked on the sweep
    second, joined = SweepClock("s", 2.0, writes=True), SweepClock("s", 2.0, writes=False)
    clock[0] += 50
    assert second.is_up and second.left == 0 and joined.seconds == 120
    joined.write()
    assert SweepClock("s", 3.0, writes=True).seconds == 70, "only the owner of the sweep's run writes"
    assert SweepClock("s", None, writes=True).left is None and not SweepClock("s", None, writes=True).is_up
    assert SweepClock("other", 1.0, writes=True).seconds == 0


@pytest.mark.parametrize("content", ["", "x", "-5", "nan"])
def test_a_damaged_file_counts_as_nothing(clock: list[float], content: str) -> None:
    (SWEEPS / "s/seconds").write_text(content)
    assert SweepClock("s", 1.0, writes=True).seconds == 0


def test_the_end_is_announced_once(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget, "POLL_INTERVAL", 0.001)
    ended = threading.Event()
    calls = []

    def end() -> None:
        calls.append(clock[0])
        ended.set()

    with SweepClock("s", 1.0, writes=True).ending(end):
        assert not ended.wait(0.02)
        clock[0] += 60
        assert ended.wait(10)
    assert calls == [160.0]
