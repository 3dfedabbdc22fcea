"""`python -m pipeline.sync`: what is left in journals is sent to MLflow, and what cannot be sent is named."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from pipeline import sync
from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import Process
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Begin, ProcessStarted, Status, Unknown
from pipeline.tracking.run_ref import RunRef
from pipeline.tracking.store import open_store
from tests.tracking.other_users import forbid


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database that exists already, and with the folder of its artifacts."""
    place = tmp_path_factory.mktemp("store")
    (place / "artifacts").mkdir()
    open_store(TrackingConfig(uri=f"sqlite:///{place}/mlflow.db", experiment="x"))
    return place


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mlruns").mkdir()
    shutil.copy(database / "mlflow.db", tmp_path / "mlruns")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., RunRef]:
    """written(key) is a run that has ended, of which nothing was sent."""

    def written(key: str, uri: str | None = None, status: str | None = "FINISHED", started: float = 0.0) -> RunRef:
        journal = Journal(Path("mlruns/runs") / key)
        journal.append(Begin(name=key, tags={}, tracking_uri=uri, experiment="x", config="seed: 0"))
        journal.append(ProcessStarted(vars(Process.this()) | {"started": started}))
        journal.append_metrics({"a": 1.0}, step=1)
        (tmp_path / "files").mkdir()
        (tmp_path / "files/a").write_text(key)
        journal.move_artifacts(tmp_path / "files", "p")
        if status is not None:
            journal.append(Status(status))
        journal.close()
        return RunRef(journal.folder)

    return written


def runs() -> dict[str, mlflow.entities.Run]:
    """Every run in the default store, by its run_key."""
    client = mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/mlruns/mlflow.db")
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return {run.data.tags["run_key"]: run for run in found}


def test_what_is_left_is_sent_once_the_oldest_first(
    written: Callable[..., RunRef], capsys: pytest.CaptureFixture[str]
) -> None:
    older, newer = written("a" * 32), written("b" * 32, status="FAILED")
    journal = Journal(older.folder)
    delivery = Delivery(journal, TrackingConfig(experiment="x"))
    delivery.send_next()  # a part of it was sent before
    journal.close()
    for time, run in enumerate((older, newer)):
        set_time(run, 1000 + time)
    assert sync.main([]) == 0
    found = runs()
    printed = capsys.readouterr()
    assert printed.out == "".join(f"{run.key}: sent as run {found[run.key].info.run_id}\n" for run in (older, newer))
    assert printed.err == ""
    for run, status in ((older, "FINISHED"), (newer, "FAILED")):
        sent = found[run.key]
        assert sent.info.status == status and sent.data.metrics == {"a": 1.0}
        assert (Path(sent.info.artifact_uri.removeprefix("file://")) / "p/a").read_text() == run.key
    assert found[older.key].info.run_id == delivery.run_id
    assert sync.main([]) == 0
    assert capsys.readouterr().out == "nothing to send\n"
    assert len(runs()) == 2


def set_time(run: RunRef, seconds: float) -> None:
    os.utime(run.folder / "journal.jsonl", (seconds, seconds))


def test_without_any_run_there_is_nothing_to_send(capsys: pytest.CaptureFixture[str]) -> None:
    assert sync.main([]) == 0
    assert capsys.readouterr().out == "nothing to send\n"


@pytest.mark.parametrize("name", ["key", "id"])
def test_one_run_is_sent_by_its_key_or_its_id(written: Callable[..., RunRef], name: str) -> None:
    """And no other."""
    run, _ = written("a" * 32), written("b" * 32)
    journal = Journal(run.folder)
    delivery = Delivery(journal, TrackingConfig(experiment="x"))
    delivery.send_next()
    journal.close()
    assert sync.main([f"run={delivery.run_id if name == 'id' else run.key}"]) == 0
    assert list(runs()) == [run.key] and runs()[run.key].info.status == "FINISHED"


def test_a_run_that_is_not_here_is_refused() -> None:
    with pytest.raises(UserError, match="run=abc: no run under mlruns/runs has this run_key or id"):
        sync.main(["run=abc"])
    with pytest.raises(UserError, match=r"unknown key 'runs' \(did you mean 'run'"):
        sync.main(["runs=abc"])


def test_a_run_that_is_alive_sends_for_itself(
    written: Callable[..., RunRef], capsys: pytest.CaptureFixture[str]
) -> None:
    run = written("a" * 32, status=None, started=Process.this().started)
    alive = Journal(run.folder)
    assert sync.main([]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{run.key}: is alive and sends for itself"
    assert runs() == {} and run.status() == "RUNNING"
    alive.close()


def test_a_run_whose_process_died_is_sent_as_killed(written: Callable[..., RunRef]) -> None:
    run = written("a" * 32, status=None)
    assert sync.main([]) == 0
    assert runs()[run.key].info.status == "KILLED" == run.status()


def test_a_server_that_does_not_answer_leaves_its_runs(
    written: Callable[..., RunRef], capsys: pytest.CaptureFixture[str]
) -> None:
    """And no others."""
    lost, here = written("a" * 32, "http://127.0.0.1:9"), written("b" * 32)
    assert sync.main([]) == 1
    printed = capsys.readouterr()
    reason = "tracking.uri=http://127.0.0.1:9: does not answer: Connection refused"
    assert printed.err == f"error: {lost.key}: 5 records are not sent: {reason}\n"
    assert list(runs()) == [here.key]
    assert sync.main([f"run={lost.key}", f"tracking.uri=sqlite:///{Path.cwd()}/mlruns/mlflow.db"]) == 0
    assert set(runs()) == {lost.key, here.key}


@pytest.mark.parametrize("file", ["lock", "journal.jsonl"])
@pytest.mark.parametrize("status", ["FINISHED", None])
def test_a_run_of_another_user_is_left_to_that_user(
    written: Callable[..., RunRef], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, file: str,
    status: str | None,
) -> None:  # fmt: skip
    """The others are sent. A run that is sent needs no word."""
    theirs, own = written("a" * 32, status=status), written("b" * 32)
    set_time(theirs, 1000)
    with monkeypatch.context() as patch:
        forbid(patch, theirs.folder / file)
        assert sync.main([]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        records = 4 if status is None else 5
        assert line.startswith(f"error: {theirs.key}: {records} records are not sent: ") and f"/{file}" in line
        assert line.endswith(": Permission denied; only the user who began this run can send it")
        assert runs().keys() == {own.key} and theirs.unsent() == records
    assert sync.main([]) == 0
    capsys.readouterr()
    forbid(monkeypatch, theirs.folder / file)
    assert sync.main([]) == 0
    assert capsys.readouterr() == ("nothing to send\n", "")


def test_a_run_that_this_user_cannot_read_is_named(
    written: Callable[..., RunRef], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs, own = written("a" * 32), written("b" * 32)
    forbid(monkeypatch, theirs.folder / "journal.jsonl", reading=True)
    assert sync.main([]) == 0
    printed = capsys.readouterr()
    why = "since this user cannot read it; only the user who began this run can send it"
    assert printed.err == f"note: {theirs.folder}: is left alone, {why}\n"
    assert runs().keys() == {own.key}


def test_an_address_that_had_a_password_is_asked_for(
    written: Callable[..., RunRef], capsys: pytest.CaptureFixture[str]
) -> None:
    """As long as something is left."""
    run = written("a" * 32, "http://***@host")
    assert sync.main([]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"error: {run.key}: 5 records are not sent: tracking.uri=http://***@host: ")
    assert "the journal does not store the password; give the whole address" in error
    assert sync.main([f"tracking.uri=sqlite:///{Path.cwd()}/mlruns/mlflow.db"]) == 0
    assert runs()[run.key].info.status == "FINISHED"
    assert sync.main([]) == 0  # all is sent: no address is needed


def test_a_journal_that_cannot_be_sent_is_named(
    written: Callable[..., RunRef], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the reason is, the others are sent."""
    newer, here = written("a" * 32), written("b" * 32)
    journal = Journal(newer.folder)
    journal.append(Unknown({"kind": "hologram"}))
    journal.close()
    set_time(newer, 1000)
    assert sync.main([]) == 1
    error = capsys.readouterr().err
    assert f"error: {newer.key}: 1 records are not sent: " in error and len(error.splitlines()) == 1
    assert "has a record of the kind 'hologram', which this version does not know" in error
    assert newer.unsent() == 1 and runs()[here.key].info.status == "FINISHED"
