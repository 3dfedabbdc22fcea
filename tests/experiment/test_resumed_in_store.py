"""An interrupted run whose experiment was renamed, or that was deleted, copied or finished elsewhere."""

import dataclasses
import os
import shutil
from pathlib import Path

import mlflow
import psutil
import pytest

from pipeline.config.schema import TrackingConfig
from pipeline.experiment.resume import Resumable, find_resumable, find_same
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import Process
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Status
from pipeline.tracking.run_ref import RunRef
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.tracked_run import TrackedRun
from tests.experiment.runs import CONFIG, begun, send_and_close


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the tables, which take seconds to make."""
    place = tmp_path_factory.mktemp("store") / "mlflow.db"
    open_store(TrackingConfig(uri=f"sqlite:///{place}", experiment="other"))
    return place


@pytest.fixture
def store(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """The default store of the current directory."""
    monkeypatch.chdir(tmp_path)
    Path("mlruns").mkdir()
    shutil.copy(empty, "mlruns/mlflow.db")
    return open_store(TrackingConfig(uri=None, experiment="segmentation"))


def sent(**tags: str) -> RunRef:
    """A run that is KILLED, all of which MLflow has."""
    run = begun(**tags)
    send_and_close(TrackedRun(Journal(run.folder), CONFIG.tracking))
    return run


def test_a_renamed_experiment_is_that_of_the_run(store: Store) -> None:
    """By `resume=<id>`, and by `resume=auto` in that experiment alone."""
    run = sent(fingerprint="renamed")
    mlflow.MlflowClient(store.uri).rename_experiment(store.experiment_id, "renamed")
    for name in (run.key, run.run_id):
        assert find_resumable(name, None).config.tracking.experiment == "renamed"
    found = find_same("renamed", "renamed", open_store(TrackingConfig(experiment="renamed")))
    assert isinstance(found, Resumable) and found.run == run
    new = open_store(TrackingConfig(experiment="segmentation"))
    assert new.experiment_id != store.experiment_id and find_same("renamed", "segmentation", new) is None


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_a_deleted_run_is_not_resumed_until_it_is_restored(store: Store, what: str) -> None:
    run, client = sent(), mlflow.MlflowClient(store.uri)
    client.delete_run(run.run_id) if what == "run" else client.delete_experiment(store.experiment_id)
    command = f"mlflow {what}s restore --{what}-id {run.run_id if what == 'run' else store.experiment_id}`"
    for name in (run.key, run.run_id):
        with pytest.raises(UserError, match=f"^resume={name}: was deleted.*{command} restores"):
            find_resumable(str(name), None)
    client.restore_run(run.run_id) if what == "run" else client.restore_experiment(store.experiment_id)
    assert find_resumable(run.key, None).run == run


def test_a_run_that_another_copy_of_the_folder_has_is_refused(store: Store) -> None:
    """One that is alive there, by its process; one that finished there, by its status in MLflow."""
    alive = Process(Process.this().host, Process.this().boot, os.getppid(), 0.0)
    started = psutil.Process(alive.pid).create_time() - psutil.boot_time()
    alive = dataclasses.replace(alive, started=started)
    run = begun(None, process=vars(alive))
    with pytest.raises(
        UserError, match=rf"^resume={run.key}: is still alive on .* in the folder that this one is a copy"
    ):
        find_resumable(run.key, None)
    run = sent()
    mlflow.MlflowClient(store.uri).set_terminated(run.run_id, "FINISHED")
    with pytest.raises(UserError, match=f"^resume={run.key}: has finished since, in another copy of this folder"):
        find_resumable(run.key, None)
    journal = Journal(run.folder)
    journal.append(Status("FINISHED"))
    journal.close()
    assert find_resumable(run.key, None).run == run


def test_the_environment_does_not_move_an_interrupted_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = sent()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    tracking = find_resumable(run.key, None).config.tracking
    assert (tracking.uri, tracking.experiment) == ("sqlite:///mlruns/mlflow.db", "segmentation")
