"""`python -m pipeline.sync`: what is left in journals goes to MLflow, and what cannot go is named."""

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
from pipeline.tracking.delivery import Delivery, read_position
from pipeline.tracking.journal import Journal, read_journal, status_of
from pipeline.tracking.store import open_store


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a database that is made already, and where it says that artifacts are."""
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
def written(tmp_path: Path) -> Callable[..., Path]:
    """written(key) is the folder of a run that ended, of which nothing was sent."""

    def written(key: str, uri: str | None = None, status: str | None = "FINISHED", started: float = 0.0) -> Path:
        journal = Journal(Path("mlruns/runs") / key)
        journal.append(
            "begin", name=key, tags={}, tracking_uri=uri, experiment="x", config="seed: 0", overrides=[]
        )  # fmt: skip
        journal.append("process", process=vars(Process.this()) | {"started": started})
        journal.metrics({"a": 1.0}, step=1)
        (tmp_path / "files").mkdir()
        (tmp_path / "files/a").write_text(key)
        journal.post(tmp_path / "files", "files", keep=False, place="p")
        if status is not None:
            journal.append("status", status=status)
        journal.close()
        return journal.folder

    return written


def runs() -> dict[str, mlflow.entities.Run]:
    """Every run in the default store, by its run_key."""
    client = mlflow.MlflowClient(f"sqlite:///{Path.cwd()}/mlruns/mlflow.db")
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    return {run.data.tags["run_key"]: run for run in found}


def test_what_is_left_is_sent_the_oldest_first_and_a_second_time_nothing_is(
    written: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    older, newer = written("a" * 32), written("b" * 32, status="FAILED")
    journal = Journal(older)
    delivery = Delivery(journal, TrackingConfig(experiment="x"))
    delivery.send_next()  # a part of it was sent before
    journal.close()
    for time, folder in enumerate((older, newer)):
        set_time(folder, 1000 + time)
    assert sync.main([]) == 0
    found = runs()
    told = capsys.readouterr()
    assert told.out == "".join(
        f"{folder.name}: sent as run {found[folder.name].info.run_id}\n" for folder in (older, newer)
    )
    assert told.err == ""
    for folder, status in ((older, "FINISHED"), (newer, "FAILED")):
        run = found[folder.name]
        assert run.info.status == status and run.data.metrics == {"a": 1.0}
        assert (Path(run.info.artifact_uri.removeprefix("file://")) / "p/a").read_text() == folder.name
    assert found[older.name].info.run_id == delivery.run_id
    assert sync.main([]) == 0
    assert capsys.readouterr().out == "nothing was left to send\n"
    assert len(runs()) == 2


def set_time(folder: Path, seconds: float) -> None:
    os.utime(folder / "journal.jsonl", (seconds, seconds))


def test_without_any_run_there_is_nothing_to_send(capsys: pytest.CaptureFixture[str]) -> None:
    assert sync.main([]) == 0
    assert capsys.readouterr().out == "nothing was left to send\n"


@pytest.mark.parametrize("name", ["key", "id"])
def test_one_run_is_sent_by_its_key_or_its_id_and_the_others_are_not(written: Callable[..., Path], name: str) -> None:
    folder, _ = written("a" * 32), written("b" * 32)
    journal = Journal(folder)
    delivery = Delivery(journal, TrackingConfig(experiment="x"))
    delivery.send_next()
    journal.close()
    assert sync.main([f"run={delivery.run_id if name == 'id' else folder.name}"]) == 0
    assert list(runs()) == [folder.name] and runs()[folder.name].info.status == "FINISHED"


def test_a_run_that_is_not_here_is_a_mistake() -> None:
    with pytest.raises(UserError, match="run=abc: no run under mlruns/runs has this run_key or id"):
        sync.main(["run=abc"])
    with pytest.raises(UserError, match=r"unknown key 'runs' \(did you mean 'run'"):
        sync.main(["runs=abc"])


def test_a_run_that_is_alive_sends_for_itself(written: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = written("a" * 32, status=None, started=Process.this().started)
    alive = Journal(folder)
    assert sync.main([]) == 0
    assert capsys.readouterr().out.splitlines()[0] == f"{folder.name}: is alive and sends for itself"
    assert runs() == {} and status_of(read_journal(folder)) == "RUNNING"
    alive.close()


def test_a_run_whose_process_died_is_sent_as_killed(written: Callable[..., Path]) -> None:
    folder = written("a" * 32, status=None)
    assert sync.main([]) == 0
    assert runs()[folder.name].info.status == "KILLED" == status_of(read_journal(folder))


def test_a_server_that_does_not_answer_leaves_its_runs_and_only_these(
    written: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    lost, here = written("a" * 32, "http://127.0.0.1:9"), written("b" * 32)
    assert sync.main([]) == 1
    told = capsys.readouterr()
    reason = "tracking.uri=http://127.0.0.1:9: does not answer: Connection refused"
    assert told.err == f"error: {lost.name}: 5 records are left: {reason}\n"
    assert list(runs()) == [here.name]
    assert sync.main([f"run={lost.name}", f"tracking.uri=sqlite:///{Path.cwd()}/mlruns/mlflow.db"]) == 0
    assert set(runs()) == {lost.name, here.name}


def test_an_address_that_had_a_password_is_asked_for_as_long_as_something_is_left(
    written: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = written("a" * 32, "http://***@host")
    assert sync.main([]) == 1
    told = capsys.readouterr().err
    assert told.startswith(f"error: {folder.name}: 5 records are left: tracking.uri=http://***@host: ")
    assert "the journal keeps no password; give the whole address" in told
    assert sync.main([f"tracking.uri=sqlite:///{Path.cwd()}/mlruns/mlflow.db"]) == 0
    assert runs()[folder.name].info.status == "FINISHED"
    assert sync.main([]) == 0  # all is sent: no address is needed


def test_a_journal_that_cannot_be_sent_for_any_reason_is_named_and_the_others_are_sent(
    written: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    newer, here = written("a" * 32), written("b" * 32)
    journal = Journal(newer)
    journal.append("hologram")
    journal.close()
    set_time(newer, 1000)
    assert sync.main([]) == 1
    assert f"error: {newer.name}: 1 records are left: " in (told := capsys.readouterr().err)
    assert "has a record 'hologram', which this version does not know" in told and len(told.splitlines()) == 1
    assert read_position(newer)[1] == 5 and runs()[here.name].info.status == "FINISHED"
