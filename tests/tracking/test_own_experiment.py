"""A run stays in its own experiment, whatever that is called by now; a deleted run gets nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path

import mlflow
import pytest

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import ProcessStarted, Status
from pipeline.tracking.run_ref import RunRef
from pipeline.tracking.store import open_store
from pipeline.tracking.stored_run import open_run
from tests.tracking.deliveries import send, send_some


@pytest.fixture
def own(stores: list[TrackingConfig], tmp_path: Path) -> TrackingConfig:
    """A database of the test's own with the experiment `x`."""
    source = Path(str(stores[0].uri).removeprefix("sqlite:///"))
    shutil.copy(source, tmp_path / "mlflow.db")
    return TrackingConfig(uri=f"sqlite:///{tmp_path}/mlflow.db", experiment="x")


@pytest.mark.parametrize("position", ["known", "lost"])
def test_an_interrupted_run_stays_in_its_renamed_experiment(
    write: Callable[..., Journal], own: TrackingConfig, position: str
) -> None:
    """With its model, and though a new experiment has the old name."""
    journal, first = write(), open_store(own)
    send_some(Delivery(journal, own), 9)
    client = mlflow.MlflowClient(first.uri)
    client.rename_experiment(first.experiment_id, "renamed")
    if position == "lost":
        (journal.folder / "sent.json").unlink()
    delivery = send(journal, own)
    run = client.get_run(delivery.run_id)
    assert (run.info.experiment_id, run.info.status) == (first.experiment_id, "FINISHED")
    assert delivery.store.experiment_id == first.experiment_id
    (model,) = client.search_logged_models([first.experiment_id])
    assert model.source_run_id == delivery.run_id
    names = {experiment.name for experiment in client.search_experiments()}
    assert names - {"Default"} == ({"renamed"} if position == "known" else {"renamed", "x"})
    journal.close()


def test_the_present_name_of_a_runs_experiment_is_known(write: Callable[..., Journal], own: TrackingConfig) -> None:
    journal = write()
    store = send(journal, own).store
    client = mlflow.MlflowClient(store.uri)
    client.rename_experiment(store.experiment_id, "renamed")
    tracked = RunRef(journal.folder).in_store(own.uri)
    assert (tracked.experiment, tracked.deletion) == ("renamed", None)
    journal.close()


@pytest.mark.parametrize("what", ["run", "experiment"])
def test_a_deleted_run_gets_nothing_until_it_is_restored(
    write: Callable[..., Journal], own: TrackingConfig, what: str
) -> None:
    journal = write()
    delivery = Delivery(journal, own)
    send_some(delivery, 9)
    run_id, store = delivery.run_id, delivery.store
    client = mlflow.MlflowClient(store.uri)
    environment = f"`MLFLOW_TRACKING_URI={store.uri} mlflow "
    if what == "run":
        client.delete_run(run_id)
        reason = f"was deleted; {environment}runs restore --run-id {run_id}` restores it"
    else:
        client.delete_experiment(store.experiment_id)
        command = f"experiments restore --experiment-id {store.experiment_id}` restores both"
        reason = f"was deleted with its experiment 'x'; {environment}{command}"
    for lost in (False, True):
        if lost:
            (journal.folder / "sent.json").unlink()
            if what == "experiment":
                continue  # the experiment itself is refused then
        with pytest.raises(UserError) as raised:
            send(journal, own)
        assert str(raised.value) == f"run {run_id}: {reason}; what else {journal.folder} contains is not sent"
    assert len(client.search_runs([store.experiment_id], run_view_type=3)) == 1
    for name in (run_id, journal.folder.name):
        with pytest.raises(UserError, match="was deleted") as raised:
            open_run(name, own.uri)
        assert str(raised.value) == f"run={name}: {reason}"
    client.restore_run(run_id) if what == "run" else client.restore_experiment(store.experiment_id)
    assert send(journal, own).run_id == run_id and client.get_run(run_id).info.status == "FINISHED"
    journal.close()


def test_a_copy_of_a_folder_adds_nothing_to_a_run_that_finished(
    write: Callable[..., Journal], own: TrackingConfig, tmp_path: Path
) -> None:
    """Its journal ends earlier, so the next command there would mark the run as KILLED."""
    journal = write(finished=False)
    send(journal, own)
    shutil.copytree(journal.folder, tmp_path / "copy" / journal.folder.name)
    journal.append(Status("FINISHED"))
    run_id = send(journal, own).run_id
    journal.close()
    copy = Journal(tmp_path / "copy" / journal.folder.name)
    copy.append(Status("KILLED"))
    with pytest.raises(UserError, match=f"^run {run_id}: has since finished in another copy of this folder; what else"):
        send(copy, own)
    assert mlflow.MlflowClient(own.uri).get_run(run_id).info.status == "FINISHED"
    copy.close()
    resumed = Journal(journal.folder)  # where it finished it can be resumed, as for more epochs
    resumed.append(ProcessStarted({"host": "h", "boot": "b", "pid": 9, "started": 4.5}))
    send(resumed, own)
    resumed.close()
