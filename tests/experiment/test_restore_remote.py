"""Runs that another machine began: had from the tracking server once, and left alone where they are alive."""

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
from pipeline.tracking.journal import Journal, history_of, in_use, read_journal, status_of
from pipeline.tracking.provenance import Provenance
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.stored_run import StoredRun
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint import newest_resume_point, read_state
from tests.experiment.test_resumable_runs import ELSEWHERE, begun, write_checkpoint


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(TrackingConfig(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db", "segmentation", None))


Uploaded = Callable[..., tuple[str, str]]
LAST = {"train/loss": 0.25, SCORE: 0.25, "val/loss": 0.5, "val/mean_iou": 0.5}  # of a run with the score 0.25


@pytest.fixture
def uploaded(store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Uploaded:
    """A function that makes a run in the store, begun on another machine; it returns the run's id and key."""

    def upload(
        status: str | None = "KILLED", checkpoints: bool = True, score: float | None = None,
        process: dict[str, Any] = ELSEWHERE, **tags: str,
    ) -> tuple[str, str]:  # fmt: skip
        there = tmp_path / f"machine {len(list(tmp_path.iterdir()))}"
        there.mkdir()
        with monkeypatch.context() as context:
            context.chdir(there)
            folder = begun(None, score, process, **tags)
            run = TrackedRun(Journal(folder), TrackingConfig(store.uri, "segmentation", None))
            run.log_metrics({"val/loss": 0.75, "val/mean_iou": 0.5}, step=1)
            run.log_metrics({"val/loss": 0.5}, step=2)
            run.log_params({"epochs": 4})
            config = there / "config"
            config.mkdir()
            (config / "config.yaml").write_text(run.journal.records[0]["config"])
            run.move_artifacts(config, "config")
            if checkpoints:
                write_checkpoint(folder / "checkpoints")
                run.log_artifacts(folder / "checkpoints/step-00000020", "checkpoints/last")
                run.log_artifacts(folder / "checkpoints/best-0001", "checkpoints/best")
            if status is not None:
                run.journal.append("status", status=status)
            delivery = Delivery(run.journal, TrackingConfig(store.uri, "segmentation", None))
            while not delivery.done:
                delivery.send_next()
            run.journal.close()
            assert delivery.run_id is not None
            return delivery.run_id, folder.name

    return upload


def artifacts(store: Store, id: str) -> Path:
    return Path(mlflow.MlflowClient(store.uri).get_run(id).info.artifact_uri.removeprefix("file://"))


def test_a_run_of_another_machine_is_had_from_the_server_once(store: Store, uploaded: Uploaded) -> None:
    id, key = uploaded()
    found = find_resumable(id, store.uri)
    assert (found.name, found.folder, found.status, found.data_digest) == (id, Path("mlruns/runs") / key, "KILLED", "d")
    records = read_journal(found.folder)
    assert status_of(records) == "KILLED"
    assert history_of(records) == {"val/loss": {1: 0.75, 2: 0.5}, "val/mean_iou": {1: 0.5}}
    assert [record["step"] for record in records if record["kind"] == "metrics"] == [1, 2]
    start, notes = newest_resume_point(found.folder / "checkpoints")
    assert start is not None and start.state.step == 20 and notes == []
    assert start.folder.name == "step-00000020"

    before = (found.folder / "journal.jsonl").read_bytes()
    again = find_resumable(key, store.uri)
    assert again == found and (found.folder / "journal.jsonl").read_bytes() == before


def test_of_what_the_server_has_already_nothing_is_sent_again(store: Store, uploaded: Uploaded) -> None:
    """Nor is a run made at the default address, when what is new is sent by `pipeline.sync` later."""
    id, _ = uploaded()
    found = find_resumable(id, store.uri)
    with contextlib.closing(Journal(found.folder)) as journal:
        assert Delivery(journal, found.config.tracking).done
        assert journal.records[0]["tracking_uri"] == store.uri
        assert {"experiment": "segmentation", "kind": "begin"}.items() <= journal.records[0].items()


@pytest.mark.parametrize("late", [True, False])
def test_checkpoints_that_were_not_uploaded_are_where_the_run_was(store: Store, uploaded: Uploaded, late: bool) -> None:
    """Also of a run that was killed before its configuration was sent."""
    id, key = uploaded(checkpoints=False)
    if not late:
        shutil.rmtree(artifacts(store, id) / "config")
    with pytest.raises(NoCheckpoint) as told:
        find_resumable(id, store.uri)
    assert told.value.faults == (
        f"resume={id}: its checkpoints were not uploaded (checkpoint.upload=epoch does it after every epoch) and are "
        f"not here: resume it on another (pid 1), or copy mlruns/runs/{key} from there to here",
    )
    assert not Path("mlruns").exists()


def test_checkpoints_of_two_epochs_are_none(store: Store, uploaded: Uploaded) -> None:
    """As of a process that was killed between the uploads of the best and of the last one."""
    id, _ = uploaded()
    best = artifacts(store, id) / "checkpoints/best"
    shutil.rmtree(best)
    write_checkpoint(Path("later"), step=30, best=3)
    shutil.copytree("later/best-0003", best)
    with pytest.raises(NoCheckpoint, match="checkpoints/best does not have the weights of epoch 1, which were the"):
        find_resumable(id, store.uri)


def test_a_finished_run_of_another_machine_needs_no_checkpoint(store: Store, uploaded: Uploaded) -> None:
    id, _ = uploaded("FINISHED", checkpoints=False, score=0.25)
    assert finished_already(find_resumable(id, store.uri)) == Finished(id, LAST)


def test_a_run_that_another_machine_still_works_on_is_left_alone(store: Store, uploaded: Uploaded) -> None:
    id, _ = uploaded(None)
    with pytest.raises(UserError, match=r"is still alive on another \(pid 1\), heard of"):
        find_resumable(id, store.uri)
    mlflow.MlflowClient(store.uri).set_tag(id, "heartbeat", f"{time.time() - STALE_AFTER - 5:.0f}")
    assert find_resumable(id, store.uri).name == id


def test_a_run_of_another_program_is_none(store: Store) -> None:
    run = mlflow.MlflowClient(store.uri).create_run(store.experiment_id, tags={"run_key": "../../x"})
    with pytest.raises(UserError, match="has no run_key of this program"):
        find_resumable(run.info.run_id, store.uri)


def test_what_is_damaged_on_the_server_leaves_nothing_here(store: Store, uploaded: Uploaded) -> None:
    id, key = uploaded()
    path = artifacts(store, id) / "checkpoints/best/weights.npz"
    np.savez(path, **{name: values + 1 for name, values in np.load(path).items()})
    with pytest.raises(UserError, match=r"weights\.npz: is damaged: its SHA-256 is not the recorded one"):
        find_resumable(id, store.uri)
    assert not (Path("mlruns/runs") / key).exists()


def test_what_an_attempt_left_that_was_killed_is_replaced(store: Store, uploaded: Uploaded) -> None:
    id, key = uploaded()
    write_checkpoint(Path("mlruns/runs") / key / "checkpoints", step=30, best=3)
    Journal(Path("mlruns/runs") / key / ".adopted").close()
    found = find_resumable(id, store.uri)
    assert [read_state(path).step for path in (found.folder / "checkpoints").glob("step-*")] == [20]


@pytest.mark.parametrize("alive", [True, False])
def test_of_two_that_resume_a_run_at_once_the_second_leaves_the_first_alone(
    store: Store, uploaded: Uploaded, monkeypatch: pytest.MonkeyPatch, alive: bool
) -> None:
    """The first is done, and trains or has trained already, while the second still fetches."""
    id, key = uploaded()
    folder, fetch, held = Path("mlruns/runs") / key, restore_remote.fetch_made_with, []

    def slowly(stored: StoredRun) -> Provenance:
        monkeypatch.setattr(restore_remote, "fetch_made_with", fetch)
        held.append(Journal(find_resumable(id, store.uri).folder))
        held[0].metrics({"val/mean_iou": 0.75}, step=3)
        write_checkpoint(folder / "checkpoints", step=30, best=3)
        if not alive:
            held[0].close()
        return fetch(stored)

    monkeypatch.setattr(restore_remote, "fetch_made_with", slowly)
    if alive:
        with pytest.raises(UserError, match=rf"^resume={id}: is being resumed by another process$"):
            find_resumable(id, store.uri)
    else:
        assert find_resumable(id, store.uri).folder == folder
    assert history_of(read_journal(folder))["val/mean_iou"] == {1: 0.5, 3: 0.75}
    start, _ = newest_resume_point(folder / "checkpoints")
    assert start is not None and start.state.step == 30
    assert in_use(folder) == alive
    held[0].close()


def test_while_a_run_is_made_here_a_second_process_is_told(
    store: Store, uploaded: Uploaded, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, _ = uploaded()
    copy, told = restore_remote.copy_folder, []

    def meanwhile(source: Path, target: Path) -> None:
        monkeypatch.setattr(restore_remote, "copy_folder", copy)
        with pytest.raises(UserError, match="is being resumed by another process") as refused:
            find_resumable(id, store.uri)
        told.append(refused)
        copy(source, target)

    monkeypatch.setattr(restore_remote, "copy_folder", meanwhile)
    found = find_resumable(id, store.uri)
    assert len(told) == 1 and newest_resume_point(found.folder / "checkpoints")[0] is not None
    assert sorted(path.name for path in found.folder.iterdir()) == [
        "checkpoints", "environment", "journal.jsonl", "lock", "sent.json",
    ]  # fmt: skip


def test_a_finished_run_of_the_same_fingerprint_anywhere_is_not_trained_again(store: Store, uploaded: Uploaded) -> None:
    id, _ = uploaded("FINISHED", checkpoints=False, score=0.25, fingerprint="on the server")
    begun(fingerprint="on the server")
    assert find_same("on the server", "segmentation", store) == Finished(id, LAST)


def test_an_interrupted_run_that_was_deleted_in_mlflow_is_no_longer_wanted(store: Store, uploaded: Uploaded) -> None:
    id, _ = uploaded(fingerprint="deleted")
    find_resumable(id, store.uri)
    found = find_same("deleted", "segmentation", store)
    assert isinstance(found, Resumable) and found.name == id
    mlflow.MlflowClient(store.uri).delete_run(id)
    assert find_same("deleted", "segmentation", store) is None
