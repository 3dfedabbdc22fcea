"""From a journal into a real MLflow store: everything arrives once, however often and in whatever pieces it is sent."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import LoggedModel, LoggedModelStatus

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.tracking.delivery import Delivery, send_if_possible, send_rest
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import ProcessStarted, Status
from pipeline.tracking.run_ref import RunRef, read_position, write_position
from tests.tracking.deliveries import in_mlflow, send, send_some, time_of
from tests.tracking.journals import kinds

# ---- everything arrives


def test_every_kind_of_record_arrives(write: Callable[..., Journal], tracking: TrackingConfig, tmp_path: Path) -> None:
    journal = write()
    delivery = send(journal, tracking)
    found = in_mlflow(tracking, journal.folder.name)
    times = [record.time for record in journal.records]
    assert found["status"] == ("FINISHED", times[0], times[-1], "name")
    assert found["params"] == {f"p{number}": str(number) for number in range(3)}
    tags = found["tags"]
    assert (tags["run_key"], tags["fingerprint"], tags["schema"]) == (journal.folder.name, "f", "1")
    assert (tags["host"], tags["pid"], tags["started"]) == ("h", "8", "2.5")
    assert tags["mlflow.note.content"] == "Büsche" and tags["empty"] == "" and "failure" not in tags
    first, second = (time_of(journal, number) for number in (0, 1))
    assert found["metrics"]["a"] == [(1, 1.0, first), (2, 0.5, second)]
    assert found["metrics"]["b"] == [(2, 1e-300, second)] and found["metrics"]["m2"] == [(1, 2.0, first)]
    assert found["metrics"]["inf"][0][1] > 1e308
    digest = ("0123456789" * 6)[:36]
    source = f'{{"uri": "{tmp_path}"}}'
    assert found["data"] == [
        (f"d-{split}", digest, source, ("mlflow.data.context", split)) for split in ("train", "val")
    ]
    images = {name: text for name, text in found["artifacts"].items() if name.startswith("images/")}
    assert sorted(images.values()) == ["small 1", "small 2", "whole 1", "whole 2"]
    assert {name.partition("+timestamp+")[2].partition("+")[0] for name in images} == {"10", "20"}
    assert {name: text for name, text in found["artifacts"].items() if name not in images} == {
        "config/deep/config.yaml": "config.yaml", "checkpoints/last/deep/weights.npz": "weights.npz",
    }  # fmt: skip
    assert tags["mlflow.loggedImages"] == "True"
    ((name, status, params, model_files),) = found["models"]
    assert (name, status) == ("model", LoggedModelStatus.READY) and params == found["params"]
    assert {"MLmodel", "deep/code.py"} <= set(model_files) and found["outputs"] == [2]
    assert sorted(found["scores"]) == [("a", 2, 0.5, "d-val", digest), ("b", 2, 1e-300, "d-val", digest)]
    assert read_position(journal.folder) == (delivery.run_id, len(journal.records))
    journal.close()


def test_the_model_names_its_run_and_is_found_there(write: Callable[..., Journal], tracking: TrackingConfig) -> None:
    journal = write()
    run_id = send(journal, tracking).run_id
    client = mlflow.MlflowClient(tracking.uri)
    (model,) = client.search_logged_models(
        [client.get_run(run_id).info.experiment_id], filter_string=f"source_run_id = '{run_id}'"
    )
    description = mlflow.models.Model.load(Path(model.artifact_location.removeprefix("file://")))
    assert (description.run_id, description.model_id) == (run_id, model.model_id)
    assert "python_function" in description.flavors
    journal.close()


def test_what_was_sent_is_removed_from_the_outbox(
    write: Callable[..., Journal], tracking: TrackingConfig, tmp_path: Path
) -> None:
    journal = write()
    send(journal, tracking)
    assert list((journal.folder / "outbox").iterdir()) == []
    assert (tmp_path / "last/deep/weights.npz").read_text() == "weights.npz"  # the folder that was copied
    journal.close()


# ---- sent again


@pytest.mark.parametrize("position", ["lost", "damaged", "of a longer journal"])
def test_sending_the_whole_journal_again_changes_nothing(
    write: Callable[..., Journal], tracking: TrackingConfig, position: str
) -> None:
    journal = write()
    run_id = send(journal, tracking).run_id
    before = in_mlflow(tracking, journal.folder.name)
    if position == "lost":
        (journal.folder / "sent.json").unlink()
    elif position == "damaged":
        (journal.folder / "sent.json").write_text('{"run_id": ')
    else:
        write_position(journal.folder, run_id, len(journal.records) + 1)
    again = Delivery(journal, tracking)
    assert again.sent == 0
    assert send(journal, tracking).run_id == run_id
    assert in_mlflow(tracking, journal.folder.name) == before
    journal.close()


def test_files_and_model_that_are_sent_twice_arrive_once(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash between the request and writing down that it was done: the files are still in the outbox."""
    journal = write()
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    send(journal, tracking)
    before = in_mlflow(tracking, journal.folder.name)
    (journal.folder / "sent.json").unlink()
    send(journal, tracking)
    assert in_mlflow(tracking, journal.folder.name) == before
    journal.close()


def test_another_store_gets_everything_from_the_start(
    write: Callable[..., Journal], stores: list[TrackingConfig]
) -> None:
    journal = write()
    first = Delivery(journal, stores[0])
    send_some(first, 9)
    second = send(journal, stores[1])
    assert second.run_id != first.run_id
    found = in_mlflow(stores[1], journal.folder.name)
    assert found["metrics"]["a"] == [(1, 1.0, time_of(journal, 0)), (2, 0.5, time_of(journal, 1))]
    assert found["status"][0] == "FINISHED" and len(found["models"]) == 1
    assert "checkpoints/last/deep/weights.npz" in found["artifacts"]  # the first store did not have it yet
    back = Delivery(journal, stores[0])
    back.open()  # the run that was created there is found again, and completed
    assert (back.run_id, back.sent) == (first.run_id, 0)
    back.send_all()
    assert in_mlflow(stores[0], journal.folder.name)["metrics"] == found["metrics"]
    journal.close()


def test_a_run_that_was_deleted_for_good_is_created_again(
    write: Callable[..., Journal], tracking: TrackingConfig
) -> None:
    journal = write()
    write_position(journal.folder, "0" * 32, 5)
    assert send(journal, tracking).run_id not in (None, "0" * 32)
    assert in_mlflow(tracking, journal.folder.name)["status"][0] == "FINISHED"
    journal.close()


# ---- the run's status


def test_a_resumed_run_is_running_without_its_failure(write: Callable[..., Journal], tracking: TrackingConfig) -> None:
    journal = write(finished=False)
    delivery = Delivery(journal, tracking)
    seen = []
    while not delivery.done:
        delivery.send_next()
        run = mlflow.MlflowClient(tracking.uri).get_run(delivery.run_id)
        seen.append((run.info.status, run.data.tags.get("failure")))
    failed = kinds(journal.records).index("status")
    assert seen[failed] == ("FAILED", "ValueError: why")
    assert all(status == "RUNNING" for number, (status, _) in enumerate(seen) if number != failed)
    assert seen[failed + 1 :] == [("RUNNING", None)] * (len(seen) - failed - 1)
    journal.close()


def test_a_heartbeat_is_a_tag_as_soon_as_there_is_a_run(
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


# ---- a run that another machine has resumed


ANOTHER = {"host": "another machine", "boot": "x", "pid": 5, "started": 3.5}


def resume_elsewhere(tracking: TrackingConfig, run_id: str | None) -> None:
    """Change what MLflow has of a run as another machine does that works on it."""
    client = mlflow.MlflowClient(tracking.uri)
    client.update_run(run_id, "RUNNING")
    for name, value in ANOTHER.items():
        client.set_tag(run_id, name, str(value))


@pytest.mark.parametrize("position", ["known", "lost"])
def test_a_run_that_was_resumed_elsewhere_is_not_sent(
    write: Callable[..., Journal], tracking: TrackingConfig, position: str
) -> None:
    """Whatever is left here: the end of a process that died, or all of one that trained while the server was away."""
    journal = write(finished=False)
    resume_elsewhere(tracking, send(journal, tracking).run_id)
    if position == "lost":
        (journal.folder / "sent.json").unlink()
    before = in_mlflow(tracking, journal.folder.name)
    journal.append(Status("KILLED"))
    journal.append(ProcessStarted({"host": "h", "boot": "b", "pid": 9, "started": 4.5}))
    journal.append_metrics({"a": 0.25}, step=3)
    delivery = Delivery(journal, tracking)
    for _ in range(2):  # it is tried again
        with pytest.raises(
            UserError, match=r"^run \w+: has since been resumed on another \(pid 5\); what else .* is not sent$"
        ):
            delivery.send_next()
    assert in_mlflow(tracking, journal.folder.name) == before and not delivery.done
    journal.close()


def test_a_sweep_is_continued_wherever_it_is_started(write: Callable[..., Journal], tracking: TrackingConfig) -> None:
    journal = write(finished=False)
    resume_elsewhere(tracking, send(journal, tracking).run_id)
    journal.append(ProcessStarted({"host": "h", "boot": "b", "pid": 9, "started": 4.5}))
    delivery = Delivery(journal, tracking, shared=True)
    delivery.send_next()
    assert in_mlflow(tracking, journal.folder.name)["tags"]["pid"] == "9"
    journal.close()


# ---- what a run that has ended leaves


def test_the_rest_is_sent_by_another_process(write: Callable[..., Journal], tracking: TrackingConfig) -> None:
    journal = write()
    send_some(Delivery(journal, tracking), 3)
    run = RunRef(journal.folder)
    send_rest(run, tracking.uri)  # the run is alive and sends for itself
    assert run.unsent() == len(journal.records) - 3
    journal.close()
    for _ in range(2):
        send_rest(run, tracking.uri)
        assert run.unsent() == 0 and in_mlflow(tracking, run.key)["status"][0] == "FINISHED"


def test_what_cannot_be_sent_stays_in_the_journal(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: Delivery) -> None:
        raise AssertionError("whatever it is")

    journal = write()
    for uri in ("http://127.0.0.1:9", "http://***@host", "no address"):
        send_if_possible(journal, uri)
    with monkeypatch.context() as patch:
        patch.setattr(Delivery, "send_next", broken)
        send_if_possible(journal, tracking.uri)
    assert RunRef(journal.folder).unsent() == len(journal.records)
    journal.close()


# ---- locations of artifacts


ELSEWHERE = "http://127.0.0.1:9/evil"


def test_nothing_is_sent_to_a_location_on_another_host(write: Callable[..., Journal], tracking: TrackingConfig) -> None:
    client = mlflow.MlflowClient(tracking.uri)
    there = TrackingConfig(uri=tracking.uri, experiment="on another host")
    experiment = client.create_experiment(there.experiment, artifact_location=ELSEWHERE)
    journal = write()
    for _ in range(2):  # the second attempt finds the run that the first created, and nothing else
        with pytest.raises(
            UserError, match=f"gives {ELSEWHERE}/.* as the location of the artifacts of run [0-9a-f]+, wh"
        ):
            send(journal, there)
        assert read_position(journal.folder) == (None, 0)
    (run,) = client.search_runs([experiment])
    write_position(journal.folder, run.info.run_id, 2)  # as by a version that did not check the location
    with pytest.raises(UserError, match="where MLflow does not store any; nothing is sent there"):
        send(journal, there)
    assert client.get_run(run.info.run_id).data.params == {}
    journal.close()


def test_no_model_is_sent_to_a_location_on_another_host(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = mlflow.MlflowClient.create_logged_model

    def elsewhere(*arguments: Any, **more: Any) -> LoggedModel:
        model = made(*arguments, **more)
        model.artifact_location = f"{ELSEWHERE}/models/{model.model_id}/artifacts"
        return model

    monkeypatch.setattr(mlflow.MlflowClient, "create_logged_model", elsewhere)
    journal = write()
    with pytest.raises(UserError, match=f"gives {ELSEWHERE}/models/.* as the location of the artifacts of model m-"):
        send(journal, tracking)
    assert in_mlflow(tracking, journal.folder.name)["outputs"] == []
    journal.close()
