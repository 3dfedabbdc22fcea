"""From a journal into a real MLflow store: everything arrives once, in whatever pieces and however often it is sent."""

import contextlib
import math
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import LoggedModelStatus, Run
from mlflow.exceptions import MlflowException

from pipeline.config import TrackingConfig
from pipeline.errors import UserError
from pipeline.tracking import delivery as module
from pipeline.tracking.delivery import Delivery, read_position, write_position
from pipeline.tracking.journal import Journal
from pipeline.tracking.store import open_store

MLMODEL = """
flavors:
  python_function:
    loader_module: mlflow.pyfunc.model
    python_version: 3.11.0
model_uuid: 0123456789abcdef0123456789abcdef
utc_time_created: '2026-01-01 00:00:00.000000'
"""


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[TrackingConfig]:
    """Two addresses whose databases are made already."""
    place = tmp_path_factory.mktemp("stores")
    first = TrackingConfig(uri=f"sqlite:///{place}/first/mlflow.db", experiment="x")
    open_store(first)
    shutil.copytree(place / "first", place / "second")  # making it again would take seconds
    return [first, TrackingConfig(uri=f"sqlite:///{place}/second/mlflow.db", experiment="y")]


@pytest.fixture
def tracking(stores: list[TrackingConfig]) -> TrackingConfig:
    return stores[0]


KEYS = iter(range(10**6))


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Journal]:
    """write() makes the journal of a run that was interrupted, resumed, and has finished; keys are never used again."""

    def write(finished: bool = True) -> Journal:
        journal = Journal(tmp_path / f"{next(KEYS):032x}")
        journal.append("begin", name="name", tags={"schema": "1", "fingerprint": "f"}, experiment="x")
        journal.append("process", process={"host": "h", "boot": "b", "pid": 7, "started": 1.5})
        journal.post(folder(tmp_path / "config", "config.yaml"), "files", keep=False, place="config")
        journal.append("tags", values={"mlflow.note.content": "Büsche", "empty": ""})
        for split in ("train", "val"):
            journal.append("dataset", split=split, name=f"d-{split}", source=str(tmp_path), digest="0123456789" * 6)
        journal.append("params", values={f"p{number}": str(number) for number in range(3)})
        journal.metrics({"a": 1.0, "inf": math.inf, **{f"m{number}": number for number in range(3)}}, step=1)
        journal.append("tags", values={"failure": "ValueError: why"})
        journal.append("status", status="FAILED")
        journal.append("process", process={"host": "h", "boot": "b", "pid": 8, "started": 2.5})
        journal.metrics({"a": 0.5, "b": 1e-300}, step=2)
        journal.post(folder(tmp_path / "last", "weights.npz"), "files", keep=True, place="checkpoints/last")
        journal.post(folder(tmp_path / "model", "code.py", MLmodel=MLMODEL), "model", keep=False)
        if finished:
            journal.append("status", status="FINISHED")
        return journal

    return write


def folder(place: Path, name: str, **more: str) -> Path:
    (place / "deep").mkdir(parents=True, exist_ok=True)
    (place / "deep" / name).write_text(name)
    for other, text in more.items():
        (place / other).write_text(text)
    return place


def send(journal: Journal, tracking: TrackingConfig) -> Delivery:
    delivery = Delivery(journal, tracking)
    while not delivery.done:
        delivery.send_next()
    return delivery


def told(tracking: TrackingConfig, key: str) -> dict[str, Any]:
    """All that MLflow knows of the one run with this key."""
    client = mlflow.MlflowClient(tracking.uri)
    experiment = client.get_experiment_by_name(tracking.experiment).experiment_id
    (run,) = client.search_runs([experiment], f"tags.run_key = '{key}'")
    run = client.get_run(run.info.run_id)
    models = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run.info.run_id}'")
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    return {
        "status": (run.info.status, run.info.start_time, run.info.end_time, run.info.run_name),
        "params": run.data.params,
        "tags": {name: text for name, text in run.data.tags.items() if name != "heartbeat"},
        "metrics": {
            name: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        },
        "data": sorted(
            (item.dataset.name, item.dataset.digest, item.dataset.source, *((t.key, t.value) for t in item.tags))
            for item in run.inputs.dataset_inputs
        ),
        "artifacts": {path.relative_to(artifacts).as_posix(): path.read_text() for path in files(artifacts)},
        "models": [(model.name, model.status, model.params, files_of(model.artifact_location)) for model in models],
        "outputs": [output.step for output in run.outputs.model_outputs] if run.outputs else [],
    }


def files(place: Path) -> list[Path]:
    return [path for path in sorted(place.rglob("*")) if path.is_file()]


def files_of(location: str) -> list[str]:
    place = Path(location.removeprefix("file://"))
    return [path.relative_to(place).as_posix() for path in files(place)]


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


def time_of(journal: Journal, number: int) -> int:
    return [record["time"] for record in journal.of("metrics")][number]


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


def send_some(delivery: Delivery, number: int) -> None:
    for _ in range(number):
        delivery.send_next()


# ---- interrupted


class Killed(BaseException):
    pass


class Client:
    """MLflow's client, which at one request is interrupted: before it, or after it was done and before it is told."""

    def __init__(self, client: mlflow.MlflowClient, at: int, done: bool) -> None:
        self.client, self.at, self.done, self.requests = client, at, done, 0

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        def request(*arguments: Any, **named: Any) -> Any:
            self.requests += 1
            if self.requests != self.at:
                return method(*arguments, **named)
            if self.done:
                method(*arguments, **named)
            raise Killed

        return request


@pytest.mark.parametrize("done", [False, True])
def test_killed_at_any_request_and_continued_the_history_is_the_same(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """By another process each time: a new `Delivery` begins where the last one is known to have come."""
    undisturbed = write()
    send(undisturbed, tracking)
    expected = told(tracking, undisturbed.folder.name)
    undisturbed.close()
    journal = write()
    at, kills, delivery = 0, 0, Delivery(journal, tracking)
    while not delivery.done:
        before, at = delivery.sent, at + 1  # one request later than the process before, in the same record
        delivery = Delivery(journal, tracking)
        assert delivery.sent == before
        delivery.open()
        delivery._client = Client(delivery._client, at, done)
        with contextlib.suppress(Killed):
            while not delivery.done:
                delivery.send_next()
        kills += delivery._client.requests >= delivery._client.at
        if delivery.sent > before:
            at = 0
    assert kills >= len(journal.records)
    found = told(tracking, journal.folder.name)
    assert same(found, undisturbed, expected, journal)
    journal.close()


def same(found: dict[str, Any], first: Journal, expected: dict[str, Any], second: Journal) -> bool:
    """Whether two runs have the same history, each with the times of its own journal."""

    def without_times(told: dict[str, Any], journal: Journal) -> dict[str, Any]:
        times = [record["time"] for record in journal.records]
        assert told["status"][1:3] == (times[0], times[-1])
        metrics = [record["time"] for record in journal.of("metrics")]
        assert {time for rows in told["metrics"].values() for _, _, time in rows} == set(metrics)
        return {
            **told,
            "status": told["status"][0],
            "tags": {name: text for name, text in told["tags"].items() if name != "run_key"},
            "metrics": {name: [row[:2] for row in rows] for name, rows in told["metrics"].items()},
        }

    assert without_times(found, second) == without_times(expected, first)
    return True


def test_a_run_whose_making_was_done_but_not_answered_is_not_made_twice(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same process, which tries again."""
    journal = write()
    delivery = Delivery(journal, tracking)
    delivery.open()
    create = mlflow.MlflowClient.create_run

    def unanswered(client: mlflow.MlflowClient, *arguments: Any, **named: Any) -> Run:
        create(client, *arguments, **named)
        raise MlflowException("timed out")

    with monkeypatch.context() as patch, pytest.raises(UserError, match="timed out"):
        patch.setattr(mlflow.MlflowClient, "create_run", unanswered)
        delivery.send_next()
    while not delivery.done:
        delivery.send_next()
    assert told(tracking, journal.folder.name)["status"][0] == "FINISHED"  # which looks for one run
    journal.close()


def test_a_model_whose_description_was_being_written_is_whole_when_it_is_sent_again(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = write()

    def torn(_model: object, path: str) -> None:
        Path(path).write_text("flavors: {pyth")
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(module.Model, "save", torn)
        send(journal, tracking)
    send(journal, tracking)
    ((_, status, _, model_files),) = told(tracking, journal.folder.name)["models"]
    assert status == LoggedModelStatus.READY and set(model_files) >= {"MLmodel", "deep/code.py"}
    assert not [name for name in model_files if name.startswith(".")]
    journal.close()


# ---- what cannot be sent


def test_a_record_of_a_newer_version_is_refused_by_name(
    write: Callable[..., Journal], tracking: TrackingConfig
) -> None:
    journal = write()
    journal.append("hologram")
    with pytest.raises(ValueError, match="has a record 'hologram', which this version does not know"):
        send(journal, tracking)
    assert len(journal.records) - read_position(journal.folder)[1] == 1
    journal.close()


def test_a_server_that_breaks_off_is_told_in_a_few_words(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in MLflow's, which repeat the whole request."""
    journal = write()
    delivery = Delivery(journal, tracking)
    delivery.open()

    def broken(*_: object, **__: object) -> None:
        closed = ConnectionResetError("Remote end closed connection without response")
        try:
            raise OSError("Connection aborted.", closed)
        except OSError as error:
            raise MlflowException(f"API request to http://host/{'x' * 500} failed with exception {error}") from error

    monkeypatch.setattr(mlflow.MlflowClient, "create_run", broken)
    with pytest.raises(UserError) as told:
        delivery.send_next()
    assert (
        str(told.value)
        == f"tracking.uri={tracking.uri}: does not answer: Remote end closed connection without response"
    )
    journal.close()


def test_an_address_that_does_not_answer_leaves_everything_to_be_sent(write: Callable[..., Journal]) -> None:
    journal = write()
    delivery = Delivery(journal, TrackingConfig(uri="http://127.0.0.1:9", experiment="x"))
    for _ in range(2):
        with pytest.raises(UserError, match="does not answer: Connection refused"):
            delivery.send_next()
    assert (delivery.sent, delivery.run_id, delivery.store, delivery.done) == (0, None, None, False)
    assert not (journal.folder / "sent.json").exists()
    journal.close()
