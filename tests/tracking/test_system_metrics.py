"""The load of the machine is logged in the journal, like everything else."""

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


def test_the_load_is_logged_by_steps_that_a_resume_continues(journal: Journal) -> None:
    """Of the processor, the memory, the disk and the network."""
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


def test_an_error_ends_the_measuring_silently(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training meets a full disk itself, and does not need to know the load."""
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
