"""A delivery that is killed at any request, and whether MLflow has the same history afterwards."""

import contextlib
from typing import Any

import mlflow

from pipeline.config.schema import TrackingConfig
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Metrics


class Killed(BaseException):
    pass


class Client:
    """MLflow's client, interrupted at one request: before it, or after it was done and before its answer arrives."""

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


def send_killed_at_any_request(journal: Journal, tracking: TrackingConfig, done: bool) -> int:
    """Send a journal; each process is killed one request later than the one before. Returns the number of kills.

    Args:
        done: whether the request at which it is killed is done; only its answer is lost then.
    """
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
    return kills


def same(found: dict[str, Any], first: Journal, expected: dict[str, Any], second: Journal) -> bool:
    """Whether two runs have the same history, each with the times of its own journal."""

    def without_times(stored: dict[str, Any], journal: Journal) -> dict[str, Any]:
        times = [record.time for record in journal.records]
        assert stored["status"][1:3] == (times[0], times[-1])
        metrics = [record.time for record in journal.of(Metrics)]
        assert {time for rows in stored["metrics"].values() for _, _, time in rows} == set(metrics)
        return {
            **stored,
            "status": stored["status"][0],
            "tags": {name: text for name, text in stored["tags"].items() if name != "run_key"},
            "metrics": {name: [row[:2] for row in rows] for name, rows in stored["metrics"].items()},
        }

    assert without_times(found, second) == without_times(expected, first)
    return True
