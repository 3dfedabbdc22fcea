"""A run whose journal is here, and with which another machine has gone on since: what MLflow has of it is newer."""

from collections.abc import Mapping

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.config.addresses import database_file, tracking_uri
from pipeline.runtime.process import Process
from pipeline.tracking.journal import Record
from pipeline.tracking.store import Unreachable, answering, connect


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


def is_current(records: list[Record], tags: Mapping[str, str]) -> bool:
    """Whether a journal is there, and knows the process that was the last to work on its run."""
    return bool(records) and taken_over(records, tags) is None


def run_of(client: mlflow.MlflowClient, id: str) -> Run | None:
    """The run with this id; None where MLflow does not have it, or no longer."""
    try:
        return client.get_run(id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return None
        raise


def run_if_it_answers(id: str, uri: str | None) -> Run | None:
    """The run with this id; None also while its store is not there or does not answer: work goes on without.

    Raises:
        UserError: what answers is no store of MLflow's, or refuses.
    """
    address = tracking_uri(uri)
    database = database_file(address)
    if database is not None and not database.is_file():
        return None
    try:
        with answering(address):
            return run_of(connect(address), id)
    except Unreachable:
        return None
