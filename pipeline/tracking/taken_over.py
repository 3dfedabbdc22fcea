"""A run whose journal is here, and with which another machine has gone on since: what MLflow has of it is newer."""

from collections.abc import Mapping

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.tracking.journal import Record
from pipeline.tracking.process import Process


def taken_over(records: list[Record], tags: Mapping[str, str]) -> Process | None:
    """The process that works, or worked last, on a run as MLflow has it, if it is none that the journal knows.

    A journal knows the processes that wrote it, and the one whose run it was adopted from.

    Args:
        tags: of the run in MLflow.
    """
    known = [Process.read(record["process"]) for record in records if record["kind"] == "process"]
    known += [Process.read(begin["tags"]) for begin in records[:1]]
    process = Process.read(tags)
    return None if process in known else process


def run_of(client: mlflow.MlflowClient, id: str) -> Run | None:
    """The run with this id; None where MLflow does not have it, or no longer."""
    try:
        return client.get_run(id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise
