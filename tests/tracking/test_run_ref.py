"""What a run is on this machine: its names, its state, who works on it, and whether its newest state is here."""

import contextlib
import dataclasses
import math
import os
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.addresses import LOCAL
from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import STALE_AFTER, Process
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Begin, ProcessStarted, Record, Status, Tags
from pipeline.tracking.run_ref import (
    RunRef,
    is_alive,
    owner_elsewhere,
    read_position,
    same_address,
    silence,
    tracking_of,
    write_position,
)

BEGIN = Begin(name="name", tags={}, tracking_uri="http://***@host", experiment="e")
HERE: dict[str, Any] = {"host": "this machine", "boot": "x", "pid": 4, "started": 2.5}
ANOTHER: dict[str, Any] = {"host": "another machine", "boot": "x", "pid": 5, "started": 3.5}


def tags_of(process: dict[str, Any]) -> dict[str, str]:
    """A process as MLflow stores it."""
    return {name: str(value) for name, value in process.items()}


# ---- names and state


def test_a_run_that_does_not_exist_has_no_state(tmp_path: Path) -> None:
    run = RunRef(tmp_path / "key")
    assert (run.key, run.run_id, run.name, run.is_here, run.in_use) == ("key", None, "key", False, False)
    assert (run.records(), run.begin(), run.status(), run.owner(), run.unsent()) == ([], None, "RUNNING", None, 0)
    assert run.silence() == math.inf and not run.is_current({}) and run.in_store("sqlite:///no.db") is None
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_named_by_its_id_once_it_has_one(journal: Journal) -> None:
    run = RunRef(journal.folder)
    assert run.name == run.key == "run" and run.is_here
    write_position(run.folder, None, 1)
    assert (run.run_id, run.name) == (None, "run")
    write_position(run.folder, "abc", 1)
    assert (run.run_id, run.name) == ("abc", "abc")


def test_a_run_with_a_key_is_under_mlruns() -> None:
    assert RunRef.of("abc").folder == Path("mlruns/runs/abc")


def test_the_last_record_shows_whether_a_run_has_ended(journal: Journal) -> None:
    run = RunRef(journal.folder)
    assert run.status() == "RUNNING" and not run.has_ended()
    records: list[Record] = [
        BEGIN, ProcessStarted({}), Status("KILLED"), ProcessStarted({}), Tags({"x": "y" * 1000}), Status("FINISHED"),
    ]  # fmt: skip
    for record, status in zip(records, ["RUNNING", "RUNNING", "KILLED", "RUNNING", "RUNNING", "FINISHED"], strict=True):
        journal.append(record)
        assert run.status() == status == journal.status
        assert run.has_ended() == isinstance(record, Status)
    assert run.begin() == records[0] and run.records() == records


def test_a_journal_that_was_never_begun_has_no_begin(journal: Journal) -> None:
    run = RunRef(journal.folder)
    assert run.begin() is None and not run.has_ended()
    journal.path.write_bytes(b'{"kind": "begin", "ti')
    assert run.begin() is None and not run.has_ended()


def test_a_run_is_in_use_while_its_journal_is_open(journal: Journal) -> None:
    run = RunRef(journal.folder)
    assert run.in_use
    journal.close()
    assert not run.in_use


def test_the_owner_is_the_process_that_started_last(journal: Journal) -> None:
    run = RunRef(journal.folder)
    journal.append(BEGIN)
    assert run.owner() is None
    for process in (HERE, ANOTHER):
        journal.append(ProcessStarted(process))
        assert run.owner() == Process(**process)


# ---- how much was sent


@pytest.mark.parametrize(("sent", "unsent"), [(0, 3), (1, 2), (3, 0), (4, 3)])
def test_what_is_unsent_is_counted(journal: Journal, sent: int, unsent: int) -> None:
    """All of it, if more was sent than there is: the disk lost the end of the journal."""
    for record in (BEGIN, Tags({}), Status("FINISHED")):
        journal.append(record)
    write_position(journal.folder, "abc", sent)
    assert RunRef(journal.folder).unsent() == unsent


@pytest.mark.parametrize("content", [None, "", "{", "[]", '{"run_id": "a"}', '{"run_id": "a", "records": "x"}'])
def test_a_damaged_position_counts_as_nothing_sent(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "sent.json").write_text(content)
    assert read_position(tmp_path) == (None, 0)


def test_a_position_that_an_older_version_wrote_is_read(tmp_path: Path) -> None:
    (tmp_path / "sent.json").write_text('{"run_id": "abc", "records": 18}')
    assert read_position(tmp_path) == ("abc", 18)
    (tmp_path / "sent.json").write_text('{"run_id": null, "records": 0}')
    assert read_position(tmp_path) == (None, 0)


def test_the_address_is_the_one_given_or_recorded() -> None:
    """One that had a password is asked for."""
    with pytest.raises(UserError, match=r"tracking.uri=http://\*\*\*@host: the journal does not store the password; g"):
        tracking_of(BEGIN, None)
    assert tracking_of(BEGIN, "http://a:b@host") == TrackingConfig(uri="http://a:b@host", experiment="e")
    assert tracking_of(dataclasses.replace(BEGIN, tracking_uri=None), None).uri == LOCAL


def test_addresses_are_compared_without_passwords() -> None:
    default = dataclasses.replace(BEGIN, tracking_uri=None)
    assert same_address(BEGIN, "http://a:b@host") and not same_address(BEGIN, None)
    assert same_address(default, None) and not same_address(default, "http://a:b@host")


def test_a_run_is_sent_where_it_began_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment may give the password of that address; a folder may have moved since."""
    monkeypatch.chdir(tmp_path)
    default = dataclasses.replace(BEGIN, tracking_uri=None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://another")
    assert tracking_of(default, None).uri == LOCAL and same_address(default, LOCAL) and not same_address(default, None)
    with pytest.raises(UserError, match="the journal does not store the password"):
        tracking_of(BEGIN, None)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://a:b@host")
    assert tracking_of(BEGIN, None).uri == "http://a:b@host" and same_address(BEGIN, None)
    before = dataclasses.replace(BEGIN, tracking_uri="sqlite:////moved/mlruns/mlflow.db")
    assert tracking_of(before, None).uri == LOCAL


# ---- who works on it


@pytest.mark.parametrize(
    ("process", "silent", "alive"),
    [
        (None, 3.0, True),  # not recorded yet, but it has a heartbeat
        (None, math.inf, False),
        (Process(**ANOTHER), 3.0, True),
        (Process(**ANOTHER), STALE_AFTER + 1, False),
        (Process(**ANOTHER), math.inf, False),
        (Process(**ANOTHER), math.nan, False),
        (Process(**ANOTHER), -1000.0, True),  # a clock that is late
        (dataclasses.replace(Process.this(), pid=2**22 + 1), 3.0, False),  # it can be looked up
        (Process.this(), math.inf, True),
        (dataclasses.replace(Process.this(), boot="another"), 3.0, True),
        (dataclasses.replace(Process.this(), started=5.0), 3.0, False),  # its id was given to another process
    ],
)
def test_who_counts_as_alive(process: Process | None, silent: float, alive: bool) -> None:
    assert is_alive(process, silent) == alive


def test_silence_is_measured_from_the_last_heartbeat(journal: Journal) -> None:
    assert silence({}) == silence({"heartbeat": "x"}) == math.inf
    assert silence({"heartbeat": f"{time.time() - 50:.0f}"}) == pytest.approx(50, abs=10)
    beat = journal.folder / "heartbeat"
    beat.touch()
    os.utime(beat, (time.time() - 50,) * 2)
    assert RunRef(journal.folder).silence() == pytest.approx(50, abs=10)


def test_a_restored_run_is_current_until_it_is_resumed() -> None:
    """Its first record has the tags of the run, which name the machine that worked on it before."""
    restored = [dataclasses.replace(BEGIN, tags=tags_of(HERE))]
    assert owner_elsewhere(restored, tags_of(HERE)) is None
    assert owner_elsewhere(restored, tags_of(ANOTHER)) == Process(**ANOTHER)
    resumed = [*restored, ProcessStarted(ANOTHER)]
    assert owner_elsewhere(resumed, tags_of(ANOTHER)) is None
    third = tags_of({**ANOTHER, "pid": 6})
    assert owner_elsewhere(resumed, third) == Process.read(third)
    assert owner_elsewhere(resumed, {}) is None  # MLflow does not know any process


def test_a_run_is_current_if_its_journal_knows_the_owner(journal: Journal) -> None:
    run = RunRef(journal.folder)
    assert not run.is_current(tags_of(HERE))
    journal.append(BEGIN)
    journal.append(ProcessStarted(HERE))
    for process, elsewhere in ((HERE, False), (ANOTHER, True)):
        assert run.resumed_elsewhere(tags_of(process)) == elsewhere != run.is_current(tags_of(process))


def test_an_absent_store_does_not_have_the_run(journal: Journal, tmp_path: Path) -> None:
    write_position(journal.folder, "abc", 0)
    for uri in ("http://127.0.0.1:9", f"sqlite:///{tmp_path}/no.db"):
        assert RunRef(journal.folder).in_store(uri) is None


def test_another_store_does_not_have_the_run(journal: Journal, tracking: TrackingConfig) -> None:
    with contextlib.closing(journal):
        write_position(journal.folder, "0" * 32, 0)
        assert RunRef(journal.folder).in_store(tracking.uri) is None
