"""From a journal into a real MLflow store: everything arrives once, in whatever pieces and however often it is sent."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import LoggedModel, LoggedModelStatus

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import Process
from pipeline.tracking import delivery as module
from pipeline.tracking.delivery import Delivery, read_position, write_position
from pipeline.tracking.journal import Journal
from pipeline.tracking.ownership import taken_over
from tests.tracking.deliveries import send, send_some, time_of, told

# ---- everything arrives


def test_every_kind_of_record_arrives(write: Callable[..., Journal], tracking: TrackingConfig, tmp_path: Path) -> None:
    journal = write()
    delivery = send(journal, tracking)
    found = told(tracking, journal.folder.name)
    times = [record["time"] for record in journal.records]
    assert found["status"] == ("FINISHED", times[0], times[-1], "name")
    assert found["params"] == {f"p{number}": str(number) for number in range(3)}
    tags = found["tags"]
    assert (tags["run_key"], tags["fingerprint"], tags["schema"]) == (journal.folder.name, "f", "1")
    assert (tags["host"], tags["pid"], tags["started"]) == ("h", "8", "2.5")
    assert tags["mlflow.note.content"] == "Büsche" and tags["empty"] == "" and "failure" not in tags
    first, second = [record["time"] for record in journal.of("metrics")]
    assert found["metrics"]["a"] == [(1, 1.0, first), (2, 0.5, second)]
    assert found["metrics"]["b"] == [(2, 1e-300, second)] and found["metrics"]["m2"] == [(1, 2.0, first)]
    assert found["metrics"]["inf"][0][1] > 1e308
    digest = ("0123456789" * 6)[:36]
    source = f'{{"uri": "{tmp_path}"}}'
    assert found["data"] == [
        (f"d-{split}", digest, source, ("mlflow.data.context", split)) for split in ("train", "val")
    ]
    assert found["artifacts"] == {
        "config/deep/config.yaml": "config.yaml", "checkpoints/last/deep/weights.npz": "weights.npz",
    }  # fmt: skip
    ((name, status, params, model_files),) = found["models"]
    assert (name, status) == ("model", LoggedModelStatus.READY) and params == found["params"]
    assert {"MLmodel", "deep/code.py"} <= set(model_files) and found["outputs"] == [0]
    assert read_position(journal.folder) == (delivery.run_id, len(journal.records))
    journal.close()


def test_the_model_says_which_run_it_is_of_and_can_be_found_there(
    write: Callable[..., Journal], tracking: TrackingConfig
) -> None:
    journal = write()
    run_id = send(journal, tracking).run_id
    client = mlflow.MlflowClient(tracking.uri)
    (model,) = client.search_logged_models(
        [client.get_run(run_id).info.experiment_id], filter_string=f"source_run_id = '{run_id}'"
    )
    described = mlflow.models.Model.load(Path(model.artifact_location.removeprefix("file://")))
    assert (described.run_id, described.model_id) == (run_id, model.model_id)
    assert "python_function" in described.flavors
    journal.close()


def test_what_was_sent_leaves_the_outbox_and_the_kept_folder_stays(
    write: Callable[..., Journal], tracking: TrackingConfig, tmp_path: Path
) -> None:
    journal = write()
    send(journal, tracking)
    assert list((journal.folder / "outbox").iterdir()) == []
    assert (tmp_path / "last/deep/weights.npz").read_text() == "weights.npz"
    journal.close()


# ---- sent again


@pytest.mark.parametrize("position", ["lost", "damaged", "of a longer journal"])
def test_sending_the_whole_journal_again_changes_nothing(
    write: Callable[..., Journal], tracking: TrackingConfig, position: str
) -> None:
    journal = write()
    run_id = send(journal, tracking).run_id
    before = told(tracking, journal.folder.name)
    if position == "lost":
        (journal.folder / "sent.json").unlink()
    elif position == "damaged":
        (journal.folder / "sent.json").write_text('{"run_id": ')
    else:
        write_position(journal.folder, run_id, len(journal.records) + 1)
    again = Delivery(journal, tracking)
    assert again.sent == 0
    assert send(journal, tracking).run_id == run_id
    assert told(tracking, journal.folder.name) == before
    journal.close()


def test_files_and_model_sent_twice_are_there_once(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash between what MLflow did and what is remembered of it: the files are still in the outbox."""
    journal = write()
    monkeypatch.setattr(module.shutil, "rmtree", lambda *_, **__: None)
    send(journal, tracking)
    before = told(tracking, journal.folder.name)
    (journal.folder / "sent.json").unlink()
    send(journal, tracking)
    assert told(tracking, journal.folder.name) == before
    journal.close()


def test_another_store_than_before_gets_everything_from_the_start(
    write: Callable[..., Journal], stores: list[TrackingConfig]
) -> None:
    journal = write()
    first = Delivery(journal, stores[0])
    for _ in range(9):
        first.send_next()
    second = send(journal, stores[1])
    assert second.run_id != first.run_id
    found = told(stores[1], journal.folder.name)
    assert found["metrics"]["a"] == [(1, 1.0, time_of(journal, 0)), (2, 0.5, time_of(journal, 1))]
    assert found["status"][0] == "FINISHED" and len(found["models"]) == 1
    assert "checkpoints/last/deep/weights.npz" in found["artifacts"]  # the first store had not got it yet
    back = Delivery(journal, stores[0])
    back.open()  # the run that was begun there is found again, and completed
    assert (back.run_id, back.sent) == (first.run_id, 0)
    while not back.done:
        back.send_next()
    assert told(stores[0], journal.folder.name)["metrics"] == found["metrics"]
    journal.close()


def test_a_run_that_is_gone_for_good_is_made_again(write: Callable[..., Journal], tracking: TrackingConfig) -> None:
    journal = write()
    write_position(journal.folder, "0" * 32, 5)
    assert send(journal, tracking).run_id not in (None, "0" * 32)
    assert told(tracking, journal.folder.name)["status"][0] == "FINISHED"
    journal.close()


# ---- the run's status


def test_a_run_that_goes_on_is_running_again_without_the_failure_of_before(
    write: Callable[..., Journal], tracking: TrackingConfig
) -> None:
    journal = write(finished=False)
    delivery = Delivery(journal, tracking)
    seen = []
    while not delivery.done:
        delivery.send_next()
        run = mlflow.MlflowClient(tracking.uri).get_run(delivery.run_id)
        seen.append((run.info.status, run.data.tags.get("failure")))
    failed = [record["kind"] for record in journal.records].index("status")
    assert seen[failed] == ("FAILED", "ValueError: why")
    assert all(status == "RUNNING" for number, (status, _) in enumerate(seen) if number != failed)
    assert seen[failed + 1 :] == [("RUNNING", None)] * (len(seen) - failed - 1)
    journal.close()


def test_a_heartbeat_is_a_tag_and_nothing_before_there_is_a_run(
    write: Callable[..., Journal], tracking: TrackingConfig
) -> None:
    journal = write()
    delivery = Delivery(journal, tracking)
    delivery.heartbeat(1.0)  # there is no run yet
    send_some(delivery, 1)
    now = time.time()
    delivery.heartbeat(now)
    tags = mlflow.MlflowClient(tracking.uri).get_run(delivery.run_id).data.tags
    assert tags["heartbeat"] == f"{now:.0f}"
    journal.close()


# ---- a run that another machine has gone on with


ANOTHER = {"host": "another machine", "boot": "x", "pid": 5, "started": 3.5}


def go_on_elsewhere(tracking: TrackingConfig, run_id: str | None) -> None:
    """What MLflow has of a run once another machine works on it."""
    client = mlflow.MlflowClient(tracking.uri)
    client.update_run(run_id, "RUNNING")
    for name, value in ANOTHER.items():
        client.set_tag(run_id, name, str(value))


@pytest.mark.parametrize("position", ["known", "lost"])
def test_what_another_machine_has_gone_on_with_is_left_to_it(
    write: Callable[..., Journal], tracking: TrackingConfig, position: str
) -> None:
    """Whatever is left here: the end of a process that died, or all of one that went on while the server was away."""
    journal = write(finished=False)
    go_on_elsewhere(tracking, send(journal, tracking).run_id)
    if position == "lost":
        (journal.folder / "sent.json").unlink()
    before = told(tracking, journal.folder.name)
    journal.append("status", status="KILLED")
    journal.append("process", process={"host": "h", "boot": "b", "pid": 9, "started": 4.5})
    journal.metrics({"a": 0.25}, step=3)
    delivery = Delivery(journal, tracking)
    for _ in range(2):  # it is tried again
        with pytest.raises(UserError, match=r"^run \w+: was gone on with on another \(pid 5\); what .* has besides is"):
            delivery.send_next()
    assert told(tracking, journal.folder.name) == before and not delivery.done
    journal.close()


def test_a_sweep_goes_on_wherever_it_is_started(write: Callable[..., Journal], tracking: TrackingConfig) -> None:
    journal = write(finished=False)
    go_on_elsewhere(tracking, send(journal, tracking).run_id)
    journal.append("process", process={"host": "h", "boot": "b", "pid": 9, "started": 4.5})
    delivery = Delivery(journal, tracking, shared=True)
    delivery.send_next()
    assert told(tracking, journal.folder.name)["tags"]["pid"] == "9"
    journal.close()


def test_an_adopted_run_is_the_journals_own_until_a_third_machine_has_it(
    write: Callable[..., Journal], tracking: TrackingConfig
) -> None:
    journal = write()
    tags = mlflow.MlflowClient(tracking.uri).get_run(send(journal, tracking).run_id).data.tags
    journal.close()
    adopted = [{"kind": "begin", "tags": tags}, {"kind": "process", "process": ANOTHER}]
    assert taken_over(adopted[:1], tags) is None and taken_over(adopted, ANOTHER) is None
    third = {**ANOTHER, "pid": "6"}
    assert taken_over(adopted, third) == Process.read(third) and taken_over(journal.records, third) is not None
    assert taken_over(adopted, {}) is None  # a run of which MLflow knows no process


# ---- where a store has the artifacts


ELSEWHERE = "http://127.0.0.1:9/evil"


def test_nothing_is_sent_where_a_store_has_a_runs_artifacts_on_another_host(
    write: Callable[..., Journal], tracking: TrackingConfig
) -> None:
    client = mlflow.MlflowClient(tracking.uri)
    there = TrackingConfig(tracking.uri, "on another host")
    experiment = client.create_experiment(there.experiment, artifact_location=ELSEWHERE)
    journal = write()
    for _ in range(2):  # tried again it finds the run that it made, and not more
        with pytest.raises(UserError, match=f"artifacts of run [0-9a-f]+ are in {ELSEWHERE}/.*, which is no place for"):
            send(journal, there)
        assert read_position(journal.folder) == (None, 0)
    (run,) = client.search_runs([experiment])
    write_position(journal.folder, run.info.run_id, 2)  # as a version that did not look had written
    with pytest.raises(UserError, match="which is no place for them"):
        send(journal, there)
    assert client.get_run(run.info.run_id).data.params == {}
    journal.close()


def test_nor_a_model(write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    made = mlflow.MlflowClient.create_logged_model

    def elsewhere(*arguments: Any, **more: Any) -> LoggedModel:
        model = made(*arguments, **more)
        model.artifact_location = f"{ELSEWHERE}/models/{model.model_id}/artifacts"
        return model

    monkeypatch.setattr(mlflow.MlflowClient, "create_logged_model", elsewhere)
    journal = write()
    with pytest.raises(UserError, match=f"artifacts of model m-[0-9a-f]+ are in {ELSEWHERE}/models/.*, which is no pl"):
        send(journal, tracking)
    assert told(tracking, journal.folder.name)["outputs"] == []
    journal.close()
