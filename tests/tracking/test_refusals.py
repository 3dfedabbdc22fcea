"""A file that a store which answers does not take holds up nothing but itself, and is sent once it can be."""

import contextlib
import errno
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mlflow.exceptions import MlflowException

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.tracking import delivery as module
from pipeline.tracking import run_writer, tracked_run
from pipeline.tracking.delivery import Delivery, NotStored
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Begin, Status, View
from pipeline.tracking.run_ref import RunRef, read_deferred
from pipeline.tracking.store import open_store
from pipeline.tracking.tracked_run import TrackedRun
from tests.tracking.deliveries import in_mlflow, send, write_folder
from tests.tracking.interruptions import same, send_killed_at_any_request

UPLOADS = ("log_artifact", "log_artifacts", "log_model_artifacts")


class Refusing:
    """A storage of artifacts that refuses files by their names."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: set[str] = set()  # part of a path; "" refuses all
        self.error: Exception = OSError(errno.EROFS, "Read-only file system", "/artifacts")
        self.uploads: list[str] = []
        for name in UPLOADS:
            monkeypatch.setattr(mlflow.MlflowClient, name, self._refusing(getattr(mlflow.MlflowClient, name)))

    def _refusing(self, upload: Callable[..., None]) -> Callable[..., None]:
        def refusing(client: mlflow.MlflowClient, owner: str, path: str, *place: str) -> None:
            files = [file for file in (Path(path), *Path(path).rglob("*")) if file.is_file()]
            if any(name in file.as_posix() for file in files for name in self.names):
                raise self.error
            upload(client, owner, path, *place)
            self.uploads += [file.name for file in files]

        return refusing


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Refusing:
    monkeypatch.setattr(module, "RETRY_AFTER", 0.0)
    return Refusing(monkeypatch)


def left(journal: Journal) -> list[str]:
    """The files that wait in the outbox."""
    return sorted(path.name for path in journal.outbox.folder.rglob("*") if path.is_file())


def test_one_refused_file_waits_and_all_else_arrives(
    write: Callable[..., Journal], tracking: TrackingConfig, storage: Refusing, tmp_path: Path
) -> None:
    write_folder(tmp_path / "last", "small.json")
    undisturbed, journal = write(), write()
    send(undisturbed, tracking)
    expected = in_mlflow(tracking, undisturbed.folder.name)
    storage.names, storage.error = {"weights.npz"}, UserError("413 Client Error: Request Entity Too Large")
    with pytest.raises(NotStored) as raised:
        send(journal, tracking)
    assert raised.value.faults == ("checkpoints/last/deep/weights.npz: 413 Client Error: Request Entity Too Large",)
    found = in_mlflow(tracking, journal.folder.name)
    assert set(expected["artifacts"]) - set(found["artifacts"]) == {"checkpoints/last/deep/weights.npz"}
    assert (
        found["status"][0] == "FINISHED" and found["models"] and found["metrics"].keys() == expected["metrics"].keys()
    )
    assert left(journal) == ["weights.npz"] and RunRef(journal.folder).unsent() == 1
    storage.names = set()
    storage.uploads.clear()
    send(journal, tracking)
    assert storage.uploads == ["weights.npz"]
    assert same(in_mlflow(tracking, journal.folder.name), undisturbed, expected, journal)
    assert left(journal) == [] and RunRef(journal.folder).unsent() == 0 and read_deferred(journal.folder) == []
    journal.close(), undisturbed.close()


@pytest.mark.parametrize("error", [ModuleNotFoundError("No module named 'boto3'"), PermissionError(13, "no", "/a")])
def test_a_storage_that_takes_nothing_gets_everything_later(
    write: Callable[..., Journal], tracking: TrackingConfig, storage: Refusing, error: Exception
) -> None:
    """The model, too, which is not READY until then."""
    undisturbed, journal = write(), write()
    send(undisturbed, tracking)
    expected = in_mlflow(tracking, undisturbed.folder.name)
    storage.names, storage.error = {""}, error
    for _ in range(2):
        with pytest.raises(NotStored, match=r"^config/deep/config\.yaml, .* and 4 more files: "):
            send(journal, tracking)
        found = in_mlflow(tracking, journal.folder.name)
        assert found["status"][0] == "FINISHED" and found["params"] == expected["params"] and not found["artifacts"]
        ((_, status, _, _),) = found["models"]
        assert status == "PENDING"
    storage.names = set()
    send(journal, tracking)
    assert same(in_mlflow(tracking, journal.folder.name), undisturbed, expected, journal)
    journal.close(), undisturbed.close()


def test_a_store_without_models_or_views_gets_all_else(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An older server, or one that permits neither; what it refused arrives once it does."""
    monkeypatch.setattr(module, "RETRY_AFTER", 0.0)
    journal = write(finished=False)
    journal.append(View("{}"))
    journal.append(Status("FINISHED"))

    def refused(*_: object, **__: object) -> None:
        raise MlflowException("not permitted")

    with monkeypatch.context() as patch, pytest.raises(NotStored) as raised:
        for name in ("create_logged_model", "set_experiment_tag"):
            patch.setattr(mlflow.MlflowClient, name, refused)
        send(journal, tracking)
    assert raised.value.faults == ("the model, the model's scores on d-val, the view of the sweep: not permitted",)
    found = in_mlflow(tracking, journal.folder.name)
    assert found["status"][0] == "FINISHED" and not found["models"]
    send(journal, tracking)
    found = in_mlflow(tracking, journal.folder.name)
    assert len(found["models"]) == 1 and len(found["scores"]) == 2 and found["outputs"] == [2]
    experiment = mlflow.MlflowClient(tracking.uri).get_experiment_by_name(tracking.experiment)
    assert experiment.tags[f"mlflow.sharedViewState.{journal.folder.name}"] == "{}"
    journal.close()


@pytest.mark.parametrize("done", [False, True])
def test_killed_at_any_request_refused_files_wait_and_arrive_once(
    write: Callable[..., Journal], tracking: TrackingConfig, storage: Refusing, done: bool
) -> None:
    undisturbed, journal = write(), write()
    send(undisturbed, tracking)
    expected = in_mlflow(tracking, undisturbed.folder.name)
    storage.names = {"weights.npz", "code.py"}
    send_killed_at_any_request(journal, tracking, done)
    assert in_mlflow(tracking, journal.folder.name)["status"][0] == "FINISHED"
    assert {"weights.npz", "code.py"} <= set(left(journal)) and len(read_deferred(journal.folder)) == 2
    storage.names = set()
    send(journal, tracking)
    assert same(in_mlflow(tracking, journal.folder.name), undisturbed, expected, journal)
    journal.close(), undisturbed.close()


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.sampled_from("abcde")), max_size=3))
def test_whatever_is_refused_when_each_file_arrives_once(
    tmp_path_factory: pytest.TempPathFactory, tracking: TrackingConfig, storage: Refusing, refused: list[set[str]]
) -> None:
    place = tmp_path_factory.mktemp("run")
    key = f"{abs(hash(place)):032x}"
    with contextlib.closing(Journal(place / key)) as journal:
        journal.append(Begin(name="n", tags={}, experiment="x"))
        for folder in ("ab", "c", "de"):
            for name in folder:
                (place / folder).mkdir(exist_ok=True)
                (place / folder / f"{name}.txt").write_text(name)
            journal.copy_artifacts(place / folder, folder)
        journal.append(Status("FINISHED"))
        storage.uploads.clear()
        for names in [*refused, set()]:  # what is refused when each process sends
            storage.names = {f"/{name}.txt" for name in names}
            with contextlib.suppress(NotStored):
                send(journal, tracking)
            assert in_mlflow(tracking, key)["status"][0] == "FINISHED"
        assert sorted(storage.uploads) == [f"{name}.txt" for name in "abcde"]
        assert in_mlflow(tracking, key)["artifacts"] == {
            f"{folder}/{name}.txt": name for folder in ("ab", "c", "de") for name in folder
        }


def test_a_refused_parcel_that_a_newer_one_replaced_is_forgotten(
    write: Callable[..., Journal], tracking: TrackingConfig, storage: Refusing, tmp_path: Path
) -> None:
    journal = write()
    storage.names = {"weights.npz"}
    with pytest.raises(NotStored):
        send(journal, tracking)
    storage.names = set()
    journal.copy_artifacts(write_folder(tmp_path / "newer", "newer.npz"), "checkpoints/last")
    send(journal, tracking)
    assert "weights.npz" not in storage.uploads and "newer.npz" in storage.uploads
    assert read_deferred(journal.folder) == []
    journal.close()


def test_when_the_store_does_not_answer_either_all_waits(
    write: Callable[..., Journal], tracking: TrackingConfig, storage: Refusing, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = write()
    delivery = Delivery(journal, tracking)
    storage.names = {"config.yaml"}

    def gone(*_: object) -> None:
        raise OSError("gone")

    delivery.open()
    with monkeypatch.context() as patch, pytest.raises(Exception, match=r"config\.yaml"):
        patch.setattr(module, "get_run", gone)
        while not delivery.done:
            delivery.send_next()
    assert delivery.sent == 2 and delivery.deferred == {} and read_deferred(journal.folder) == []
    journal.close()


def test_a_storage_that_hangs_is_not_asked_for_every_file(
    write: Callable[..., Journal], tracking: TrackingConfig, storage: Refusing, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(run_writer, "PATIENCE", -1.0)
    for number in range(5):
        write_folder(tmp_path / "last", f"{number}.txt")
    journal = write()
    storage.names = {"/last/", ".txt"}
    with pytest.raises(NotStored, match=r"^checkpoints/last/deep/0\.txt, .* and 3 more files: "):
        send(journal, tracking)
    journal.close()


@pytest.fixture
def run(
    tracking: TrackingConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], TrackedRun]]:
    """run() is a run with one file and a metric that has ended."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        tracked_run, "SystemMetrics", lambda _: type("Idle", (), {"start": lambda _: None, "stop": lambda _: None})()
    )

    def run() -> TrackedRun:
        with TrackedRun.begin(tracking, "n", {}, "", []) as made:
            made.move_artifacts(write_folder(tmp_path / "config", "config.yaml"), "config")
            made.log_metrics({"a": 1.0}, 1)
        return made

    yield run


def test_a_run_names_what_waits_and_the_command_that_sends_it(
    run: Callable[[], TrackedRun], tracking: TrackingConfig, storage: Refusing, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.names = {"config.yaml"}
    storage.error = ModuleNotFoundError("No module named 'boto3'")
    made = run()
    first, last = capsys.readouterr().err.splitlines()
    why = "config/deep/config.yaml: a driver for it is not installed (No module named 'boto3')"
    assert first.startswith(f"warning: MLflow cannot store {why}; everything else is sent, and ")
    assert last == (
        f"warning: MLflow has not stored {why}; it waits in mlruns/runs/{made.key}/outbox; when that is mended "
        f"python -m pipeline.sync run={made.key} sends it"
    )
    assert in_mlflow(tracking, made.key)["status"][0] == "FINISHED"
    assert left(made.journal) == ["config.yaml"]


def test_a_real_storage_in_a_file_system_that_refuses(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file in place of the experiment's folder: whoever runs this, nothing can be written below it."""
    monkeypatch.setattr(module, "RETRY_AFTER", 0.0)
    there = TrackingConfig(uri=tracking.uri, experiment="refuses")
    store = open_store(there)
    folder = Path(
        mlflow.MlflowClient(store.uri).get_experiment(store.experiment_id).artifact_location.partition("://")[2]
    )
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    folder.touch()
    journal = write()
    with pytest.raises(NotStored, match="Not a directory"):
        send(journal, there)
    client = mlflow.MlflowClient(store.uri)
    (run,) = client.search_runs([store.experiment_id])
    assert (run.info.status, run.data.metrics["b"]) == ("FINISHED", 1e-300)
    folder.unlink()
    send(journal, there)
    found: dict[str, Any] = in_mlflow(there, journal.folder.name)
    assert len(found["artifacts"]) == 6 and found["models"][0][1] == "READY"
    journal.close()
