"""A run that was interrupted here and resumed on another machine: nobody trains it a second time."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from pipeline.config.schema import TrackingConfig
from pipeline.experiment.resume import Finished, Resumable, find_resumable, find_same, finished_already
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import STALE_AFTER
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import ProcessStarted, Status
from pipeline.tracking.run_ref import RunRef
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.sweep_runs import children
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint import newest_resume_point
from tests.experiment.runs import CONFIG, DEAD, ELSEWHERE, begun, send_and_close, write_checkpoint


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    return open_store(TrackingConfig(uri=uri, experiment="segmentation"))


@pytest.fixture
def tracking(store: Store) -> TrackingConfig:
    return TrackingConfig(uri=store.uri, experiment="segmentation", run_name=None)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for machine in ("here", "there"):
        (tmp_path / machine).mkdir()
    monkeypatch.chdir(tmp_path / "here")


def interrupted(tracking: TrackingConfig, **tags: str) -> RunRef:
    """A run that is KILLED here after its second epoch, and whose checkpoints are in MLflow."""
    run = begun(None, config=dataclasses.replace(CONFIG, tracking=tracking), **tags)
    tracked = TrackedRun(Journal(run.folder), tracking)
    tracked.log_metrics({"val/mean_iou": 0.5}, step=2)
    Path("config").mkdir()
    Path("config/config.yaml").write_text(tracked.journal.begin.config)
    tracked.move_artifacts(Path("config"), "config")
    log_checkpoint(tracked, step=20, best=1)
    tracked.journal.append(Status("KILLED"))
    send_and_close(tracked)
    return run


def log_checkpoint(run: TrackedRun, step: int, best: int) -> None:
    write_checkpoint(run.folder / "checkpoints", step, best)
    run.log_artifacts(run.folder / f"checkpoints/step-{step:08d}", "checkpoints/last")
    run.log_artifacts(run.folder / f"checkpoints/best-{best:04d}", "checkpoints/best")


Resume = Callable[..., None]


@pytest.fixture
def resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracking: TrackingConfig) -> Resume:
    """resume(run_id) trains an epoch more on another machine, where the run is alive unless a status is given."""

    def resume(run_id: str, status: str | None = None) -> None:
        with monkeypatch.context() as context:
            context.chdir(tmp_path / "there")
            run = TrackedRun(Journal(find_resumable(run_id, tracking.uri).run.folder), tracking)
            run.journal.append(ProcessStarted(ELSEWHERE))
            run.log_metrics({"val/mean_iou": 0.75}, step=3)
            if status == "FINISHED":
                run.log_metrics({"best/val_mean_iou": 0.75}, step=3)
            if status is not None:
                log_checkpoint(run, step=30, best=3)
                run.journal.append(Status(status))
            send_and_close(run)

    return resume


@pytest.mark.parametrize("by", ["id", "key"])
def test_while_the_other_machine_trains_it_is_alive(tracking: TrackingConfig, resume: Resume, by: str) -> None:
    run = interrupted(tracking)
    resume(run.name)
    before = (run.folder / "journal.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"is still alive on another \(pid 1\), last heartbeat"):
        find_resumable(run.name if by == "id" else run.key, None)
    assert (run.folder / "journal.jsonl").read_bytes() == before


def test_what_the_other_machine_finished_is_finished(tracking: TrackingConfig, resume: Resume) -> None:
    run = interrupted(tracking)
    resume(run.name, "FINISHED")
    found = find_resumable(run.name, None)
    assert finished_already(found.run) == Finished(run.name, {"val/mean_iou": 0.75, "best/val_mean_iou": 0.75})


def test_it_continues_from_the_state_of_the_other_machine(
    store: Store, tracking: TrackingConfig, resume: Resume
) -> None:
    """With one history, in which every value is logged once; and from there the run is this machine's."""
    run = interrupted(tracking)
    (run.folder / "checkpoints/step-00000040").mkdir()
    resume(run.name, "KILLED")
    found = find_resumable(run.name, None)
    assert (found.run, found.run.status(), found.config.tracking) == (run, "KILLED", tracking)
    start, notes = newest_resume_point(found.checkpoints)
    assert start is not None and start.state.step == 30 and notes == []
    tracked = TrackedRun(Journal(run.folder), tracking)
    tracked.journal.append(ProcessStarted({**ELSEWHERE, "host": "here again"}))
    tracked.log_metrics({"val/mean_iou": 0.75}, step=3)
    tracked.log_metrics({"val/mean_iou": 1.0}, step=4)
    send_and_close(tracked)
    history = mlflow.MlflowClient(store.uri).get_metric_history(run.name, "val/mean_iou")
    assert [(metric.step, metric.value) for metric in history] == [(2, 0.5), (3, 0.75), (4, 1.0)]
    written = (run.folder / "journal.jsonl").read_bytes()
    assert find_resumable(run.name, None).run == run and (run.folder / "journal.jsonl").read_bytes() == written


def test_without_a_server_the_state_here_is_resumed(tracking: TrackingConfig) -> None:
    run = interrupted(tracking)
    for uri in ("http://127.0.0.1:9", f"sqlite:///{run.folder}/no.db"):
        assert find_resumable(run.key, uri).run.status() == "KILLED"


def test_resume_auto_does_not_find_a_run_of_another_machine(
    store: Store, tracking: TrackingConfig, resume: Resume
) -> None:
    run = interrupted(tracking, fingerprint="auto")
    found = find_same("auto", "segmentation", store)
    assert isinstance(found, Resumable) and found.run == run
    resume(run.name)
    assert find_same("auto", "segmentation", store) is None


@pytest.mark.parametrize("status", [None, "KILLED", "FINISHED"])
def test_a_trial_has_the_state_of_the_other_machine(
    store: Store, tracking: TrackingConfig, resume: Resume, status: str | None
) -> None:
    sweep = f"sweep {status}"
    run = interrupted(tracking, sweep=sweep, trial="seed=1")
    (before,) = children(sweep, tracking, store)
    assert (before.status, before.metrics) == ("KILLED", {"val/mean_iou": 0.5})
    resume(run.name, status)
    (child,) = children(sweep, tracking, store)
    assert (child.key, child.name, child.status) == (run.key, run.name, status or "RUNNING")
    assert child.metrics["val/mean_iou"] == 0.75 and child.alive == (status is None)
    assert [child.status for child in children(sweep, tracking, None)] == ["KILLED"]
    with contextlib.closing(Journal(run.folder)):  # this machine works on it nevertheless, as if the server was away
        (child,) = children(sweep, tracking, store)
        assert (child.status, child.alive) == ("KILLED", True)


def test_only_what_mlflow_says_was_deleted_is_left_out(store: Store, tracking: TrackingConfig, tmp_path: Path) -> None:
    """A renamed experiment, and a database that was lost, do not make a sweep train its trials again."""
    run, client = interrupted(tracking, sweep="lost", trial="seed=1"), mlflow.MlflowClient(store.uri)
    empty = open_store(dataclasses.replace(tracking, uri=f"sqlite:///{tmp_path}/empty.db"))
    assert [child.key for child in children("lost", tracking, empty)] == [run.key]
    client.delete_run(run.name)
    assert children("lost", tracking, store) == []
    client.restore_run(run.name)
    assert [child.key for child in children("lost", tracking, store)] == [run.key]
    client.rename_experiment(store.experiment_id, "another name")
    try:
        renamed = open_store(tracking)
        assert renamed.experiment_id != store.experiment_id
        assert [child.key for child in children("lost", tracking, renamed)] == [run.key]
    finally:
        client.rename_experiment(renamed.experiment_id, "a third one")
        client.rename_experiment(store.experiment_id, tracking.experiment)


def test_a_trial_of_another_host_in_this_folder_is_alive_while_its_heart_beats(tracking: TrackingConfig) -> None:
    """Of a container that was started again at once, or on a file system without locks."""
    run = begun(None, process=ELSEWHERE, sweep="shared", trial="seed=1")
    beat = run.folder / "heartbeat"
    beat.touch()
    assert [child.alive for child in children("shared", tracking, None)] == [True]
    os.utime(beat, (time.time() - STALE_AFTER - 5,) * 2)
    assert [child.alive for child in children("shared", tracking, None)] == [False]
    begun(None, process=DEAD, sweep="died", trial="seed=1")
    assert [child.alive for child in children("died", tracking, None)] == [False]
