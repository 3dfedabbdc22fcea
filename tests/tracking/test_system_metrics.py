"""The load of the machine goes into the journal beside everything else."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runtime.errors import RunFailed
from pipeline.tracking.journal import Journal
from pipeline.tracking.system_metrics import SystemMetrics


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "run")
    yield journal
    journal.close()


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.02")


def wait_for(journal: Journal, number: int) -> None:
    with journal.appended:
        assert journal.appended.wait_for(lambda: len(journal.records) >= number, timeout=60)


def test_processor_memory_disk_and_network_are_journalled_by_steps_that_go_on_after_a_resume(journal: Journal) -> None:
    measured = SystemMetrics(journal)
    measured.start()
    wait_for(journal, 2)
    measured.stop()
    first = len(journal.records)
    again = SystemMetrics(journal)
    again.start()
    wait_for(journal, first + 2)
    again.stop()
    last = len(journal.records)
    history = journal.history()
    assert {name.split("/")[0] for name in history} == {"system"}
    assert {
        "system/cpu_utilization_percentage", "system/system_memory_usage_megabytes", "system/disk_usage_percentage",
        "system/network_receive_megabytes",
    } <= set(history)  # fmt: skip
    assert list(history["system/cpu_utilization_percentage"]) == list(range(last))
    assert all(value >= 0 for value in history["system/cpu_utilization_percentage"].values())


def test_nothing_is_measured_after_it_was_stopped(journal: Journal) -> None:
    measured = SystemMetrics(journal)
    measured.start()
    wait_for(journal, 1)
    measured.stop()
    assert not measured._thread.is_alive()


def test_it_can_be_stopped_before_it_was_started(journal: Journal) -> None:
    SystemMetrics(journal).stop()
    assert journal.records == []


def test_what_cannot_be_measured_or_written_ends_the_measuring_and_says_nothing_on_the_terminal(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training meets a full disk itself; a machine that does not tell its load is trained on all the same."""
    for owner, name, error in (
        (Journal, "append", RunFailed("full")),
        (SystemMetrics, "_measure", OSError("no counters")),
    ):
        failed = threading.Event()

        def fail(*_: object, error: Exception = error, failed: threading.Event = failed, **__: object) -> None:
            failed.set()
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            measured = SystemMetrics(journal)
            measured.start()
            assert failed.wait(60)
            measured._thread.join(60)
        assert not measured._thread.is_alive()
    assert capsys.readouterr().err == ""
