"""Where runs are kept: the tracking address, its database made once, and the experiment."""

import fcntl
import logging
import os
import re
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
import sqlalchemy
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from pipeline.config.addresses import database_file, tracking_uri
from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import mask_credentials, plain
from pipeline.tracking.artifact_uris import ARTIFACTS, moved_away


class Unreachable(UserError):
    """The address may be right, but nothing answers there now."""


@dataclass(frozen=True)
class Store:
    """An MLflow tracking address, absolute, and one experiment in it."""

    uri: str
    experiment_id: str

    def open_command(self) -> str | None:
        """The command that starts MLflow's UI on this store; None where a server runs already."""
        if self.uri.startswith("http"):
            return None
        return f"mlflow ui --backend-store-uri {shlex.quote(mask_credentials(self.uri))}"

    def address(self, run_id: str) -> str:
        """Where the UI shows a run."""
        host = mask_credentials(self.uri).rstrip("/") if self.uri.startswith("http") else "http://127.0.0.1:5000"
        # Without the last part the UI opens in its mode for language models.
        return f"{host}/#/experiments/{plain(self.experiment_id)}/runs/{run_id}?workflowType=machine_learning"


def open_store(config: TrackingConfig) -> Store:
    """Connect, make what is not there yet, and name the experiment.

    Several processes may come at once to a database that does not exist: MLflow would make its tables in each of them
    and fail in all but one, so they take turns.

    Raises:
        UserError: the address does not answer, or the experiment was deleted or its folder moved.
    """
    uri = tracking_uri(config.uri)
    database = database_file(uri)
    with answering(uri):
        if database is None:
            return Store(uri, _experiment(connect(uri), config.experiment, None))
        database.parent.mkdir(parents=True, exist_ok=True)
        with (database.parent / f".{database.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return Store(uri, _experiment(connect(uri), config.experiment, database.parent / ARTIFACTS))


def open_if_it_answers(config: TrackingConfig) -> Store | None:
    """As `open_store`, but None where nothing answers: a run goes on without, and is sent later.

    Raises:
        UserError: the address is wrong, or the experiment was deleted or its folder moved.
    """
    try:
        return open_store(config)
    except Unreachable:
        return None


def connect(uri: str) -> mlflow.MlflowClient:
    """A client of a store that answers. MLflow's log lines and progress bars are switched off."""
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # A request fails in seconds, not in minutes, and is not repeated: one that makes a run, and whose answer was lost,
    # would make a second. Who wants to have it repeated looks first, and repeats it.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # which would tell each of them
    if not uri.startswith("http"):
        # MLflow asks a database that does not answer ten times in 100 seconds; this asks once.
        engine = sqlalchemy.create_engine(uri)
        sqlalchemy.inspect(engine).get_table_names()
        engine.dispose()
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri)
    client.search_experiments(max_results=1)
    return client


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """For requests that a user waits for: what goes wrong with them is told in a line.

    Raises:
        Unreachable: the store does not answer.
        UserError: what answers is no store of MLflow's, or refuses.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError) as error:
        kind = Unreachable if _is_absence(uri, error) else UserError
        raise kind(f"tracking.uri={mask_credentials(uri)}: {mask_credentials(_reason(error))}") from error


def _is_absence(uri: str, error: Exception) -> bool:
    """Whether the same request may go through later: no connection, or a fault on the server's side."""
    if database_file(uri) is not None:
        return False
    if isinstance(error, MlflowException):
        return "failed with exception" in str(error) or error.get_http_status_code() >= 500
    return isinstance(error, OperationalError | OSError)


def _reason(error: Exception) -> str:
    """The part of an error that says why a store does not answer."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, ImportError):
        return f"the driver for this database is not installed ({text})"
    if isinstance(error, OSError) and error.filename:  # a file on this machine
        return f"{error.filename}: {error.strerror}"
    if refused := re.search(r"\[Errno -?\d+\] ([^'\")]+)", text):
        return f"does not answer: {refused[1]}"
    if "failed with exception" in text:  # MLflow tells the whole request; why there was no answer is what began it
        cause: BaseException = error
        while before := cause.__cause__ or cause.__context__ or _wrapped(cause):
            cause = before
        return f"does not answer: {str(cause) or type(cause).__name__}".splitlines()[0]
    return text.splitlines()[0]


def _wrapped(error: BaseException) -> BaseException | None:
    """The error that urllib3 gives as an argument of its own, as of a connection that was aborted."""
    return next((argument for argument in error.args if isinstance(argument, BaseException)), None)


def _experiment(client: mlflow.MlflowClient, name: str, artifacts: Path | None) -> str:
    """The id of an experiment, made when it is not there.

    Args:
        artifacts: where a local store keeps its artifacts; None leaves that to the server.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        location = None if artifacts is None else (artifacts / re.sub(r"[^\w.-]+", "_", name)).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            # Another process on another machine made it in the meantime, or the reason is a real one.
            time.sleep(0.1)
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise UserError(
            f"tracking.experiment={name}: was deleted; restore it (mlflow experiments restore) or choose another name"
        )
    if (told := moved_away(found.artifact_location, client.tracking_uri)) is not None:
        raise UserError(
            f"tracking.experiment={name}: {told}",
            f"tracking.experiment={name}: or choose another name, for runs that are kept apart from those",
        )
    return str(found.experiment_id)
