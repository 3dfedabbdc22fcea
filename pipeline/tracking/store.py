"""Where runs are stored: the tracking address, its database, which is created once, and the experiment."""

import logging
import os
import re
import shlex
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import mlflow
import sqlalchemy
from mlflow.entities import Experiment
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from pipeline.config.addresses import DATABRICKS, database_file, tracking_uri
from pipeline.config.environment import EXPERIMENT_ID, EXPERIMENT_NAME, TRACKING_URI, experiment_name, variable
from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import locked
from pipeline.runtime.text import mask_credentials, plain
from pipeline.tracking.artifact_uris import ARTIFACTS
from pipeline.tracking.database import Locked, await_database, schema_advice
from pipeline.tracking.relocation import misplaced, relocate

LONGEST_REASON = 300  # characters: a proxy may answer with a whole page
IN_MACHINE_LEARNING = "workflowType=machine_learning"  # without it the UI opens in its mode for language models


class Unreachable(UserError):
    """Nothing answers at the tracking address now; it may later."""


@dataclass(frozen=True)
class Store:
    """An MLflow tracking address, absolute, and one experiment in it."""

    uri: str
    experiment_id: str

    def open_command(self) -> str | None:
        """The command that starts MLflow's UI on this store; None for a server, which has one."""
        if self.uri.startswith(("http", DATABRICKS)):
            return None
        return f"mlflow ui --backend-store-uri {shlex.quote(mask_credentials(self.uri))}"

    def address(self, run_id: str) -> str:
        """The URL at which the UI shows a run."""
        return f"{self._runs}/{run_id}?{IN_MACHINE_LEARNING}"

    def view_address(self, key: str) -> str:
        """The URL at which the UI shows the experiment's runs in a shared view, as charts next to their list.

        Args:
            key: of the run that shared the view.
        """
        return f"{self._runs}?viewStateShareKey={key}&compareRunsMode=CHART&{IN_MACHINE_LEARNING}"

    @property
    def _runs(self) -> str:
        host = mask_credentials(self.uri).rstrip("/") if self.uri.startswith("http") else "http://127.0.0.1:5000"
        return f"{host}/#/experiments/{plain(self.experiment_id)}/runs"


def described(tracking: TrackingConfig, resumed: bool = False) -> str:
    """A store, why it is used, and the experiment: `<address> (MLFLOW_TRACKING_URI), experiment '<name>'`.

    Args:
        resumed: whether it is the store of a run that is resumed.
    """
    uri, given = tracking.uri, variable(TRACKING_URI)
    why = "tracking.uri" if uri is not None and uri != given else "the default" if given is None else TRACKING_URI
    why = "of the resumed run" if resumed else why
    return f"{mask_credentials(tracking_uri(uri))} ({why}), experiment '{plain(experiment_name(tracking))}'"


def open_store(config: TrackingConfig) -> Store:
    """Connect, and create the database and the experiment if they are missing.

    Several processes may connect at once to a database that does not exist: MLflow would create its tables in each of
    them and fail in all but one, so they take turns.

    Raises:
        Unreachable: the address does not answer.
        UserError: the address is wrong, or the experiment was deleted or its folder moved.
    """
    uri = tracking_uri(config.uri)
    database = database_file(uri)
    with answering(uri):
        if database is None:
            return Store(uri, _experiment(connect(uri), experiment_name(config), None))
        with locked(database.parent / f".{database.name}.lock"):
            client = connect(uri, writes=True)
            return Store(uri, _experiment(client, experiment_name(config), database.parent / ARTIFACTS))


def open_if_it_answers(config: TrackingConfig) -> Store | None:
    """As `open_store`, but None if nothing answers: a run trains without MLflow, and is sent later.

    Raises:
        UserError: the address is wrong, or the experiment was deleted or its folder moved.
    """
    try:
        return open_store(config)
    except Unreachable:
        return None


def name_experiment(tracking: TrackingConfig) -> None:
    """Let MLFLOW_EXPERIMENT_NAME name the experiment of MLFLOW_EXPERIMENT_ID, for this process and its children.

    Args:
        tracking: nothing is done if it names an experiment.

    Raises:
        UserError: the store does not answer, or has no such experiment, or both variables name different ones.
    """
    number, name = variable(EXPERIMENT_ID), variable(EXPERIMENT_NAME)
    if number is None or tracking.experiment is not None:
        return
    uri = tracking_uri(tracking.uri)
    if (database := database_file(uri)) is not None and not database.is_file():
        raise UserError(f"{EXPERIMENT_ID}={number}: tracking.uri={uri}: this database does not exist")
    try:
        with answering(uri):
            found = connect(uri).get_experiment(number).name
    except UserError as error:
        raise UserError(f"{EXPERIMENT_ID}={number}: the experiment's name is looked up first: {error}") from error
    if name not in (None, found):
        raise UserError(f"{EXPERIMENT_ID}={number}: is experiment '{found}', but {EXPERIMENT_NAME}={name}; unset one")
    os.environ[EXPERIMENT_NAME] = found


def connect(uri: str, writes: bool = False) -> mlflow.MlflowClient:
    """A client of a store that answers. MLflow's log lines and progress bars are switched off.

    Args:
        writes: whether a database in a file must be writable now.
    """
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)  # it would log each failure's traceback
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    # A request fails in seconds, not in minutes, and is not retried: if the answer to one that creates a run was lost,
    # a retry would create a second. Callers that retry must first check whether the request went through.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # it would log each failure
    if (database := database_file(uri)) is not None:
        await_database(database, writes)
        if database.is_file() and os.access(database, os.W_OK):
            relocate(database)
    elif not uri.startswith(("http", DATABRICKS)):
        # MLflow tries a database that does not answer ten times in 100 seconds; this tries it once.
        engine = sqlalchemy.create_engine(uri)
        sqlalchemy.inspect(engine).get_table_names()
        engine.dispose()
    given = os.environ.get(TRACKING_URI)
    mlflow.set_tracking_uri(uri)  # also sets the variable, which would then hold for later commands of this process
    if given is None:
        os.environ.pop(TRACKING_URI, None)
    else:
        os.environ[TRACKING_URI] = given
    client = mlflow.MlflowClient(uri)
    client.search_experiments(max_results=1)
    return client


@contextmanager
def answering(uri: str) -> Iterator[None]:
    """Report errors of requests in this block in one line.

    Raises:
        Unreachable: the store does not answer.
        UserError: what answers is not MLflow, or it refuses the request.
    """
    try:
        yield
    except (MlflowException, SQLAlchemyError, sqlite3.Error, OSError, ImportError) as error:
        kind = Unreachable if _may_recover(uri, error) else UserError
        address = mask_credentials(uri)
        why = schema_advice(str(error), address) or mask_credentials(reason(error))
        raise kind(f"tracking.uri={address}: {why}") from error


def _may_recover(uri: str, error: Exception) -> bool:
    """Whether the same request may go through later: there was no connection, or an error of the server."""
    if database_file(uri) is not None:
        return isinstance(error, Locked) or "database is locked" in str(error)
    if isinstance(error, MlflowException):
        return "failed with exception" in str(error) or error.get_http_status_code() >= 500
    return isinstance(error, OperationalError | OSError)


def reason(error: BaseException) -> str:
    """The part of an error that says why a request failed."""
    text = str(error).strip() or type(error).__name__
    if isinstance(error, ImportError):
        return f"a driver for it is not installed ({text})"
    if isinstance(error, OSError) and error.filename:  # a file on this machine
        return f"{error.filename}: {error.strerror}"
    if refused := re.search(r"\[Errno -?\d+\] ([^'\")]+)", text):
        return f"does not answer: {refused[1]}"
    if "failed with exception" in text:  # MLflow quotes the whole request; the first error says why it failed
        cause: BaseException = error
        while before := cause.__cause__ or cause.__context__ or _wrapped(cause):
            cause = before
        return f"does not answer: {str(cause) or type(cause).__name__}".splitlines()[0]
    return text.splitlines()[0]


def reason_in_words(error: BaseException) -> str:
    """The same for a message: one line of a bounded length, without credentials or control characters."""
    text = error.faults[0] if isinstance(error, UserError) else reason(error)
    return plain(mask_credentials(text))[:LONGEST_REASON]


def _wrapped(error: BaseException) -> BaseException | None:
    """The error that urllib3 passes as an argument of its own, as for a connection that was aborted."""
    return next((argument for argument in error.args if isinstance(argument, BaseException)), None)


def _experiment(client: mlflow.MlflowClient, name: str, artifacts: Path | None) -> str:
    """The id of an experiment, which is created if it is missing.

    Args:
        artifacts: the folder in which a local store stores artifacts; None leaves that to the server.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        location = None if artifacts is None else (artifacts / re.sub(r"[^\w.-]+", "_", name)).as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location))
        except MlflowException:
            # Another machine may have created it in the meantime; otherwise the error is a real one.
            time.sleep(0.1)
            found = client.get_experiment_by_name(name)
            if found is None:
                raise
    if found.lifecycle_stage != "active":
        raise UserError(
            f"tracking.experiment={name}: was deleted; restore it (mlflow experiments restore) or choose another name"
        )
    check_place(found, client.tracking_uri)
    return str(found.experiment_id)


def check_place(experiment: Experiment, uri: str) -> None:
    """Check that what is written to an experiment does not go into another project's folder.

    Raises:
        UserError: it would.
    """
    if (why := misplaced(experiment.artifact_location, uri)) is not None:
        raise UserError(
            f"tracking.experiment={experiment.name}: {why}",
            f"tracking.experiment={experiment.name}: or choose another name, which starts a new experiment",
        )
