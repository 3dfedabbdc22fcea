"""The runs on this machine: listed, and found by key or by MLflow's id."""

import os
from pathlib import Path

import pytest

from pipeline.tracking.journal import Journal
from pipeline.tracking.local_runs import find_local, local_runs
from pipeline.tracking.records import Begin
from pipeline.tracking.run_ref import RUNS, RunRef, write_position


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def begun(key: str, seconds: float) -> RunRef:
    """A run whose journal was written at this time."""
    journal = Journal(RUNS / key)
    journal.append(Begin(name="name", tags={}, experiment="x"))
    journal.close()
    os.utime(journal.path, (seconds, seconds))
    return RunRef(journal.folder)


def test_the_run_that_was_written_last_comes_first() -> None:
    runs = [begun(letter * 32, 1000 + age) for letter, age in (("a", 2), ("b", 3), ("c", 1))]
    assert list(local_runs()) == [runs[1], runs[0], runs[2]]


def test_a_folder_whose_journal_has_not_begun_is_no_run() -> None:
    assert list(local_runs()) == []
    run = begun("a" * 32, 1000)
    for name, content in (
        ("torn", '{"kind": "beg'),
        ("empty", ""),
        (".hidden", (run.folder / "journal.jsonl").read_text()),
    ):
        (RUNS / name).mkdir()
        (RUNS / name / "journal.jsonl").write_text(content)
    (RUNS / "none").mkdir()
    assert list(local_runs()) == [run]
    assert find_local("torn") is None


def test_a_run_is_found_by_its_key_and_by_its_id() -> None:
    first, second = begun("a" * 32, 1000), begun("b" * 32, 2000)
    write_position(first.folder, "f" * 32, 1)
    assert find_local("a" * 32) == find_local("f" * 32) == first and find_local("b" * 32) == second
    assert find_local("None") is None and find_local("c" * 32) is None
