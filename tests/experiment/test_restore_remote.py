"""Runs that another machine began: restored from the tracking server once, and left alone while they are alive."""

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from pipeline.config.schema import TrackingConfig
from pipeline.experiment import restore_remote
from pipeline.experiment.restore_remote import NoCheckpoint
from pipeline.experiment.resume import (
    SCORE,
    Finished,
    Resumable,
    find_resumable,
    find_same,
    finished_already,
)
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import STALE_AFTER
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import Journal
from pipeline.tracking.provenance import Provenance
from pipeline.tracking.records import Metrics, Status, history_of
from pipeline.tracking.run_ref import RunRef
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.stored_run import StoredRun
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint import newest_resume_point, read_state
from tests.experiment.runs import ELSEWHERE, begun, send_and_close, write_checkpoint


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    return open_store(TrackingConfig(uri=uri, experiment="segmentation"))


Uploaded = Callable[..., tuple[str, str]]
LAST = {"train/loss": 0.25, SCORE: 0.25, "val/loss": 0.5, "val/mean_iou": 0.5}  # of a run with the score 0.25


@pytest.fixture
def uploaded(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Uploaded:
    """uploaded() makes a run in the store that was begun on another machine, and returns its id and its key."""

    def upload(
        status: str | None = "KILLED", checkpoints: bool = True, score: float | None = None,
        process: dict[str, Any] = ELSEWHERE, **tags: str,
    ) -> tuple[str, str]:  # fmt: skip
        there = tmp_path / f"machine {len(list(tmp_path.iterdir()))}"
        there.mkdir()
        with monkeypatch.context() as context:
            context.chdir(there)
            folder = begun(None, score, process, **tags).folder
            run = TrackedRun(Journal(folder), TrackingConfig(uri=store.uri, experiment="segmentation"))
            run.log_metrics({"val/loss": 0.75, "val/mean_iou": 0.5}, step=1)
            run.log_metrics({"val/loss": 0.5}, step=2)
            run.log_params({"epochs": 4})
            config = there / "config"
            config.mkdir()
            (config / "config.yaml").write_text(run.journal.begin.config)
            run.move_artifacts(config, "config")
            if checkpoints:
                write_checkpoint(folder / "checkpoints")
                run.log_artifacts(folder / "checkpoints/step-00000020", "checkpoints/last")
                run.log_artifacts(folder / "checkpoints/best-0001", "checkpoints/best")
            if status is not None:
                run.journal.append(Status(status))
            return send_and_close(run), run.key

    return upload


def artifacts(store: Store, run_id: str) -> Path:
    return Path(mlflow.MlflowClient(store.uri).get_run(run_id).info.artifact_uri.removeprefix("file://"))


def test_a_run_of_another_machine_is_restored_once(store: Store, uploaded: Uploaded) -> None:
    run_id, key = uploaded()
    found = find_resumable(run_id, store.uri)
    assert (found.name, found.run, found.run.status(), found.data_digest) == (run_id, RunRef.of(key), "KILLED", "d")
    records = found.run.records()
    assert history_of(records) == {"val/loss": {1: 0.75, 2: 0.5}, "val/mean_iou": {1: 0.5}}
    assert [record.step for record in records if isinstance(record, Metrics)] == [1, 2]
    start, notes = newest_resume_point(found.checkpoints)
    assert start is not None and start.state.step == 20 and notes == []
    assert start.folder.name == "step-00000020"

    before = (found.run.folder / "journal.jsonl").read_bytes()
    again = find_resumable(key, store.uri)
    assert again == found and (found.run.folder / "journal.jsonl").read_bytes() == before


def test_nothing_that_the_server_has_is_sent_again(store: Store, uploaded: Uploaded) -> None:
    """Nor is a run created at the default address when `pipeline.sync` sends what is new."""
    run_id, _ = uploaded()
    found = find_resumable(run_id, store.uri)
    with contextlib.closing(Journal(found.run.folder)) as journal:
        assert Delivery(journal, found.config.tracking).done
        assert (journal.begin.tracking_uri, journal.begin.experiment) == (store.uri, "segmentation")


@pytest.mark.parametrize("late", [True, False])
def test_checkpoints_that_were_not_uploaded_are_elsewhere(store: Store, uploaded: Uploaded, late: bool) -> None:
    """Also of a run that was killed before its configuration was sent."""
    run_id, key = uploaded(checkpoints=False)
    if not late:
        shutil.rmtree(artifacts(store, run_id) / "config")
    with pytest.raises(NoCheckpoint) as raised:
        find_resumable(run_id, store.uri)
    assert raised.value.faults == (
        f"resume={run_id}: its checkpoints were not uploaded (checkpoint.upload=epoch does it after every epoch) and "
        f"are not here: resume it on another (pid 1), or copy mlruns/runs/{key} from there to here",
    )
    assert not Path("mlruns").exists()


def test_checkpoints_of_two_epochs_are_refused(store: Store, uploaded: Uploaded) -> None:
    """As of a process that was killed between the uploads of the best and of the last one."""
    run_id, _ = uploaded()
    best = artifacts(store, run_id) / "checkpoints/best"
    shutil.rmtree(best)
    write_checkpoint(Path("later"), step=30, best=3)
    shutil.copytree("later/best-0003", best)
    with pytest.raises(NoCheckpoint, match="checkpoints/best does not contain the weights of epoch 1, which were"):
        find_resumable(run_id, store.uri)


def test_a_finished_run_of_another_machine_needs_no_checkpoint(store: Store, uploaded: Uploaded) -> None:
    run_id, _ = uploaded("FINISHED", checkpoints=False, score=0.25)
    assert finished_already(find_resumable(run_id, store.uri).run) == Finished(run_id, LAST)


def test_a_run_that_is_alive_elsewhere_is_left_alone(store: Store, uploaded: Uploaded) -> None:
    run_id, _ = uploaded(None)
    with pytest.raises(UserError, match=r"is still alive on another \(pid 1\), last heartbeat"):
        find_resumable(run_id, store.uri)
    mlflow.MlflowClient(store.uri).set_tag(run_id, "heartbeat", f"{time.time() - STALE_AFTER - 5:.0f}")
    assert find_resumable(run_id, store.uri).name == run_id


def test_a_run_of_another_program_is_refused(store: Store) -> None:
    run = mlflow.MlflowClient(store.uri).create_run(store.experiment_id, tags={"run_key": "../../x"})
    with pytest.raises(UserError, match="has no run_key of this program"):
        find_resumable(run.info.run_id, store.uri)


def test_a_damaged_checkpoint_leaves_nothing_here(store: Store, uploaded: Uploaded) -> None:
    run_id, key = uploaded()
    path = artifacts(store, run_id) / "checkpoints/best/weights.npz"
    np.savez(path, **{name: values + 1 for name, values in np.load(path).items()})
    with pytest.raises(NoCheckpoint, match=r"weights\.npz: is damaged: its SHA-256 is not the recorded one"):
        find_resumable(run_id, store.uri)
    assert not (Path("mlruns/runs") / key).exists()


def test_the_rest_of_a_killed_attempt_is_replaced(store: Store, uploaded: Uploaded) -> None:
    run_id, key = uploaded()
    write_checkpoint(Path("mlruns/runs") / key / "checkpoints", step=30, best=3)
    Journal(Path("mlruns/runs") / key / ".restored").close()
    found = find_resumable(run_id, store.uri)
    assert [read_state(path).step for path in found.checkpoints.glob("step-*")] == [20]


@pytest.mark.parametrize("alive", [True, False])
def test_the_second_of_two_that_resume_a_run_is_refused(
    store: Store, uploaded: Uploaded, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    """The first is done, and trains or has trained already, while the second still fetches."""
    run_id, key = uploaded()
    run, fetch, held = RunRef.of(key), restore_remote.fetch_provenance, []

    def slowly(stored: StoredRun) -> Provenance:
        monkeypatch.setattr(restore_remote, "fetch_provenance", fetch)
        held.append(Journal(find_resumable(run_id, store.uri).run.folder))
        held[0].append_metrics({"val/mean_iou": 0.75}, step=3)
        write_checkpoint(run.folder / "checkpoints", step=30, best=3)
        if not alive:
            held[0].close()
        return fetch(stored)

    monkeypatch.setattr(restore_remote, "fetch_provenance", slowly)
    if alive:
        with pytest.raises(UserError, match=rf"^resume={run_id}: is being resumed by another process$"):
            find_resumable(run_id, store.uri)
    else:
        assert find_resumable(run_id, store.uri).run == run
    assert history_of(run.records())["val/mean_iou"] == {1: 0.5, 3: 0.75}
    start, _ = newest_resume_point(run.folder / "checkpoints")
    assert start is not None and start.state.step == 30
    assert run.in_use == alive
    held[0].close()


def test_while_a_run_is_restored_a_second_process_is_refused(
    store: Store, uploaded: Uploaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, _ = uploaded()
    copy, refusals = restore_remote.copy_folder, []

    def meanwhile(source: Path, target: Path) -> None:
        monkeypatch.setattr(restore_remote, "copy_folder", copy)
        with pytest.raises(UserError, match="is being resumed by another process") as refused:
            find_resumable(run_id, store.uri)
        refusals.append(refused)
        copy(source, target)

    monkeypatch.setattr(restore_remote, "copy_folder", meanwhile)
    found = find_resumable(run_id, store.uri)
    assert len(refusals) == 1 and newest_resume_point(found.checkpoints)[0] is not None
    assert sorted(path.name for path in found.run.folder.iterdir()) == [
        "checkpoints", "environment", "journal.jsonl", "lock", "sent.json",
    ]  # fmt: skip


def test_a_finished_run_anywhere_is_not_trained_again(store: Store, uploaded: Uploaded) -> None:
    run_id, _ = uploaded("FINISHED", checkpoints=False, score=0.25, fingerprint="on the server")
    begun(fingerprint="on the server")
    assert find_same("on the server", "segmentation", store) == Finished(run_id, LAST)


def test_a_run_that_was_deleted_in_mlflow_is_not_resumed(store: Store, uploaded: Uploaded) -> None:
    run_id, _ = uploaded(fingerprint="deleted")
    find_resumable(run_id, store.uri)
    found = find_same("deleted", "segmentation", store)
    assert isinstance(found, Resumable) and found.name == run_id
    mlflow.MlflowClient(store.uri).delete_run(run_id)
    assert find_same("deleted", "segmentation", store) is None
