"""A delivery that is killed at any request, or that a server interrupts: nothing is lost, and nothing is sent twice."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mlflow
import pytest
from mlflow.entities import LoggedModelStatus, Run
from mlflow.exceptions import MlflowException

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.tracking import run_writer
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Unknown
from pipeline.tracking.run_ref import RunRef
from tests.tracking.deliveries import in_mlflow, send
from tests.tracking.interruptions import Killed, same, send_killed_at_any_request


@pytest.mark.parametrize("done", [False, True])
def test_killed_at_any_request_it_sends_the_same_history(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch, done: bool
) -> None:
    """Continued by another process each time: a new `Delivery` begins where the last one wrote down that it was."""
    undisturbed = write()
    send(undisturbed, tracking)
    expected = in_mlflow(tracking, undisturbed.folder.name)
    undisturbed.close()
    journal = write()
    kills = send_killed_at_any_request(journal, tracking, done)
    assert kills >= len(journal.records)
    found = in_mlflow(tracking, journal.folder.name)
    assert same(found, undisturbed, expected, journal)
    journal.close()


def test_a_run_is_created_once_even_if_the_answer_is_lost(
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
    delivery.send_all()
    assert in_mlflow(tracking, journal.folder.name)["status"][0] == "FINISHED"  # it finds exactly one run
    journal.close()


def test_a_half_written_model_is_complete_when_sent_again(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = write()

    def torn(_model: object, path: str) -> None:
        Path(path).write_text("flavors: {pyth")
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(run_writer.ModelDescription, "save", torn)
        send(journal, tracking)
    send(journal, tracking)
    ((_, status, _, model_files),) = in_mlflow(tracking, journal.folder.name)["models"]
    assert status == LoggedModelStatus.READY and set(model_files) >= {"MLmodel", "deep/code.py"}
    assert not [name for name in model_files if name.startswith(".")]
    journal.close()


# ---- what cannot be sent


def test_a_record_of_a_newer_version_is_refused_by_name(
    write: Callable[..., Journal], tracking: TrackingConfig
) -> None:
    journal = write()
    journal.append(Unknown({"kind": "hologram"}))
    with pytest.raises(ValueError, match="has a record of the kind 'hologram', which this version does not know"):
        send(journal, tracking)
    assert RunRef(journal.folder).unsent() == 1
    journal.close()


def test_a_lost_connection_is_reported_in_a_few_words(
    write: Callable[..., Journal], tracking: TrackingConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not in MLflow's, which quote the whole request."""
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
    with pytest.raises(UserError) as raised:
        delivery.send_next()
    assert (
        str(raised.value)
        == f"tracking.uri={tracking.uri}: does not answer: Remote end closed connection without response"
    )
    journal.close()


def test_without_an_answer_everything_is_left_to_be_sent(write: Callable[..., Journal]) -> None:
    journal = write()
    delivery = Delivery(journal, TrackingConfig(uri="http://127.0.0.1:9", experiment="x"))
    for _ in range(2):
        with pytest.raises(UserError, match="does not answer: Connection refused"):
            delivery.send_next()
    assert (delivery.sent, delivery.run_id, delivery.store, delivery.done) == (0, None, None, False)
    assert not (journal.folder / "sent.json").exists()
    journal.close()
