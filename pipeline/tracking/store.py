"""Where runs are kept: the tracking address, its database made once, and the experiment."""

import fcntl
import logging
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.exceptions import MlflowException

from pipeline.config import TrackingConfig
from pipeline.errors import UserError

HOME = Path("mlruns")  # under the current directory: all that runs write


@dataclass(frozen=True)
class Store:
    """An MLflow tracking address, absolute, and one experiment in it."""

    uri: str
    experiment_id: str

    def open_command(self) -> str | None:
        """The command that starts MLflow's UI on this store; None where a server runs already."""
        return None if self.uri.startswith("http") else f"mlflow ui --backend-store-uri {mask_credentials(self.uri)}"

    def address(self, run_id: str) -> str:
        """Where the UI shows a run."""
        host = mask_credentials(self.uri).rstrip("/") if self.uri.startswith("http") else "http://127.0.0.1:5000"
        # Without the last part the UI opens in its mode for language models.
        return f"{host}/#/experiments/{self.experiment_id}/runs/{run_id}?workflowType=machine_learning"


def tracking_uri(uri: str | None) -> str:
    """The absolute form of an address; null is a database under the current directory.

    Raises:
        UserError: MLflow knows no such address.
    """
    if uri is None:
        return f"sqlite:///{(HOME / 'mlflow.db').resolve()}"
    scheme = urlsplit(uri).scheme
    known = ("http", "https", "sqlite", "postgresql", "postgresql+psycopg2", "mysql", "mysql+pymysql", "mssql")
    if scheme not in known:
        raise UserError(
            f"tracking.uri={mask_credentials(uri)}: http://, https://, sqlite:///, postgresql:// or mysql:// expected"
        )
    if scheme == "sqlite" and (database := _database(uri)) is not None:
        return f"sqlite:///{database}"
    return uri


def open_store(config: TrackingConfig) -> Store:
    """Connect, make what is not there yet, and name the experiment.

    Several processes may come at once to a database that does not exist: MLflow would make its tables in each of them
    and fail in all but one, so they take turns.

    Raises:
        UserError: the address does not answer, or the experiment was deleted.
    """
    for noisy in ("mlflow", "alembic"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    uri = tracking_uri(config.uri)
    mlflow.set_tracking_uri(uri)
    client = mlflow.MlflowClient(uri)
    database = _database(uri)
    try:
        if database is None:
            return Store(uri, _experiment(client, config.experiment, None))
        database.parent.mkdir(parents=True, exist_ok=True)
        with (database.parent / f".{database.name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            return Store(uri, _experiment(client, config.experiment, database.parent / "artifacts"))
    except (MlflowException, OSError) as error:
        reason = mask_credentials(str(error).strip().splitlines()[0])
        raise UserError(f"tracking.uri={mask_credentials(uri)}: {reason}") from error


def mask_credentials(text: str) -> str:
    """The text with user and password of every address in it replaced by ***."""
    return re.sub(r"(?<=://)[^/@\s]+@", "***@", text)


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
    return str(found.experiment_id)


def _database(uri: str) -> Path | None:
    """The file of a sqlite address."""
    if not uri.startswith("sqlite:///"):
        return None
    return Path(unquote(uri.removeprefix("sqlite:///").partition("?")[0])).expanduser().resolve()
