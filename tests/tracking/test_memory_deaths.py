"""A run whose process was killed for want of memory is told apart from one that was killed otherwise."""

from pathlib import Path

import pytest

from pipeline.tracking import memory_deaths
from pipeline.tracking.memory_deaths import FILE, probably_out_of_memory, record_kills


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int | None]:
    """A list whose last number the system counts; its cgroup is in the file `cgroup`."""
    counts: list[int | None] = [3]
    (tmp_path / "cgroup").write_text("0::/a")
    monkeypatch.setattr(memory_deaths, "kills_for_memory", lambda: counts[-1])
    monkeypatch.setattr(memory_deaths, "CGROUP", tmp_path / "cgroup")
    return counts


def test_a_kill_since_the_start_is_suspected(kills: list[int | None], tmp_path: Path) -> None:
    record_kills(tmp_path)
    assert not probably_out_of_memory(tmp_path)
    kills.append(4)
    assert probably_out_of_memory(tmp_path)
    (tmp_path / "cgroup").write_text("0::/another")
    assert not probably_out_of_memory(tmp_path)


def test_where_nobody_counts_nothing_is_suspected(kills: list[int | None], tmp_path: Path) -> None:
    kills.append(None)
    record_kills(tmp_path)
    assert not probably_out_of_memory(tmp_path)
    kills.append(4)
    assert not probably_out_of_memory(tmp_path)


@pytest.mark.parametrize("content", [None, "", "[]", "{}", '{"kills": "3"}', "{"])
def test_without_a_record_nothing_is_suspected(content: str | None, kills: list[int | None], tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / FILE).write_text(content)
    assert not probably_out_of_memory(tmp_path)
