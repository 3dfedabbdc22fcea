"""A run that was interrupted here, and with which another machine has gone on: nobody trains it a second time."""

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from pipeline.config.schema import TrackingConfig
from pipeline.experiment.resume import Finished, Resumable, find_resumable, find_same, finished_already
from pipeline.runtime.errors import UserError
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import Journal
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.sweep_runs import children
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint import newest_resume_point
from tests.experiment.test_resumable_runs import CONFIG, ELSEWHERE, begun, write_checkpoint


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return open_store(TrackingConfig(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db", "segmentation", None))


@pytest.fixture
def tracking(store: Store) -> TrackingConfig:
    return TrackingConfig(store.uri, "segmentation", None)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for machine in ("here", "there"):
        (tmp_path / machine).mkdir()
    monkeypatch.chdir(tmp_path / "here")


def send(journal: Journal, tracking: TrackingConfig) -> str:
    delivery = Delivery(journal, tracking)
    while not delivery.done:
        delivery.send_next()
    journal.close()
    assert delivery.run_id is not None
    return delivery.run_id


def left(tracking: TrackingConfig, **tags: str) -> tuple[str, Path]:
    """A run that is KILLED here after its second epoch, and whose checkpoints are in MLflow."""
    folder = begun(None, config=dataclasses.replace(CONFIG, tracking=tracking), **tags)
    run = TrackedRun(Journal(folder), tracking)
    run.log_metrics({"val/mean_iou": 0.5}, step=2)
    Path("config").mkdir()
    Path("config/config.yaml").write_text(run.journal.records[0]["config"])
    run.move_artifacts(Path("config"), "config")
    write_checkpoint(folder / "checkpoints")
    run.log_artifacts(folder / "checkpoints/step-00000020", "checkpoints/last")
    run.log_artifacts(folder / "checkpoints/best-0001", "checkpoints/best")
    run.journal.append("status", status="KILLED")
    return send(run.journal, tracking), folder


GoOn = Callable[..., None]


@pytest.fixture
def go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracking: TrackingConfig) -> GoOn:
    """go_on(id) trains another epoch of a run on another machine, which is alive there unless a status is given."""

    def go_on(id: str, status: str | None = None) -> None:
        with monkeypatch.context() as context:
            context.chdir(tmp_path / "there")
            run = TrackedRun(Journal(find_resumable(id, tracking.uri).folder), tracking)
            run.journal.append("process", process=ELSEWHERE)
            run.log_metrics({"val/mean_iou": 0.75}, step=3)
            if status == "FINISHED":
                run.log_metrics({"best/val_mean_iou": 0.75}, step=3)
            if status is not None:
                write_checkpoint(run.folder / "checkpoints", step=30, best=3)
                run.log_artifacts(run.folder / "checkpoints/step-00000030", "checkpoints/last")
                run.log_artifacts(run.folder / "checkpoints/best-0003", "checkpoints/best")
                run.journal.append("status", status=status)
            send(run.journal, tracking)

    return go_on


@pytest.mark.parametrize("by", ["id", "key"])
def test_while_the_other_machine_trains_it_is_alive(tracking: TrackingConfig, go_on: GoOn, by: str) -> None:
    id, folder = left(tracking)
    go_on(id)
    before = (folder / "journal.jsonl").read_bytes()
    with pytest.raises(UserError, match=r"is still alive on another \(pid 1\), heard of"):
        find_resumable(id if by == "id" else folder.name, None)
    assert (folder / "journal.jsonl").read_bytes() == before


def test_what_the_other_machine_finished_is_finished(tracking: TrackingConfig, go_on: GoOn) -> None:
    id, _ = left(tracking)
    go_on(id, "FINISHED")
    assert finished_already(find_resumable(id, None)) == Finished(id, {"val/mean_iou": 0.75, "best/val_mean_iou": 0.75})


def test_it_goes_on_from_where_the_other_machine_left_it(store: Store, tracking: TrackingConfig, go_on: GoOn) -> None:
    """With one history, of which nothing is told twice; and from there the run is this machine's."""
    id, folder = left(tracking)
    (folder / "checkpoints/step-00000040").mkdir()
    go_on(id, "KILLED")
    found = find_resumable(id, None)
    assert (found.name, found.folder, found.status) == (id, folder, "KILLED") and found.config.tracking == tracking
    start, notes = newest_resume_point(folder / "checkpoints")
    assert start is not None and start.state.step == 30 and notes == []
    run = TrackedRun(Journal(folder), tracking)
    run.journal.append("process", process={**ELSEWHERE, "host": "here again"})
    run.log_metrics({"val/mean_iou": 0.75}, step=3)
    run.log_metrics({"val/mean_iou": 1.0}, step=4)
    send(run.journal, tracking)
    history = mlflow.MlflowClient(store.uri).get_metric_history(id, "val/mean_iou")
    assert [(metric.step, metric.value) for metric in history] == [(2, 0.5), (3, 0.75), (4, 1.0)]
    written = (folder / "journal.jsonl").read_bytes()
    assert find_resumable(id, None).folder == folder and (folder / "journal.jsonl").read_bytes() == written


def test_while_the_server_is_away_what_is_here_goes_on(tracking: TrackingConfig) -> None:
    _, folder = left(tracking)
    for uri in ("http://127.0.0.1:9", f"sqlite:///{folder}/no.db"):
        assert find_resumable(folder.name, uri).status == "KILLED"


def test_the_same_configuration_does_not_take_what_is_the_others(
    store: Store, tracking: TrackingConfig, go_on: GoOn
) -> None:
    id, folder = left(tracking, fingerprint="auto")
    found = find_same("auto", "segmentation", store)
    assert isinstance(found, Resumable) and found.folder == folder
    go_on(id)
    assert find_same("auto", "segmentation", store) is None


@pytest.mark.parametrize("status", [None, "KILLED", "FINISHED"])
def test_a_trial_is_what_the_other_machine_made_of_it(
    store: Store, tracking: TrackingConfig, go_on: GoOn, status: str | None
) -> None:
    id, folder = left(tracking, sweep=f"sweep {status}", trial="seed=1")
    (before,) = children(f"sweep {status}", tracking, store)
    assert (before.status, before.metrics) == ("KILLED", {"val/mean_iou": 0.5})
    go_on(id, status)
    (child,) = children(f"sweep {status}", tracking, store)
    assert (child.key, child.name, child.status) == (folder.name, id, status or "RUNNING")
    assert child.metrics["val/mean_iou"] == 0.75 and child.alive == (status is None)
    assert [child.status for child in children(f"sweep {status}", tracking, None)] == ["KILLED"]
    with contextlib.closing(Journal(folder)):  # this machine works on it nevertheless, as while the server was away
        (child,) = children(f"sweep {status}", tracking, store)
        assert (child.status, child.alive) == ("KILLED", True)
