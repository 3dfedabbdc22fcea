"""A run that was tracked before, as the side tools need it: its configuration and the weights it was scored with."""

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.network import read_config
from pipeline.tracking.store import answering, connect, database_file, mask_credentials, tracking_uri


@dataclass(frozen=True)
class StoredRun:
    """Files of a run in a private folder, that live as long as `folder` is not cleaned up."""

    id: str
    config: Config
    weights: Path
    weights_sha256: str
    folder: tempfile.TemporaryDirectory[str]


def fetch_run(run: str, uri: str | None) -> StoredRun:
    """Fetch a run by MLflow's id or by its run_key.

    Raises:
        UserError: there is no such run, or it has no weights yet.
    """
    address = tracking_uri(uri)
    database = database_file(address)
    if database is not None and not database.is_file():
        raise UserError(
            f"tracking.uri={address}: there is no such database; start in the folder that holds mlruns/, "
            "or say where the runs are with tracking.uri=…"
        )
    with answering(address):
        client = connect(address)
        found = find_run(client, run, address)
    recorded = found.data.tags.get("weights_sha256")
    if recorded is None:
        raise UserError(
            f"run={run}: has no evaluated weights; it is {found.info.status}, and only a FINISHED run has them"
        )
    folder = tempfile.TemporaryDirectory(prefix="run-")
    try:
        config = _fetch(client, found.info.run_id, "config/config.yaml", folder.name)
        weights = _fetch(client, found.info.run_id, "checkpoints/best/weights.npz", folder.name)
        return StoredRun(found.info.run_id, read_config(config), weights, recorded, folder)
    except BaseException:
        folder.cleanup()
        raise


def find_run(client: mlflow.MlflowClient, run: str, address: str) -> Run:
    """The run with this id or run_key.

    Raises:
        UserError: no run has it.
    """
    with contextlib.suppress(MlflowException):
        return client.get_run(run)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    quoted = run.replace("'", "")
    for match in client.search_runs(experiments, f"tags.run_key = '{quoted}'", max_results=1):
        return match
    raise UserError(f"run={run}: no run has this id or run_key at tracking.uri={mask_credentials(address)}")


def _fetch(client: mlflow.MlflowClient, run_id: str, artifact: str, folder: str) -> Path:
    """One known file of a run.

    Raises:
        UserError: the run does not have it, or what arrives is no plain file.
    """
    try:
        path = Path(client.download_artifacts(run_id, artifact, folder))
    except (MlflowException, OSError) as error:
        raise UserError(f"run={run_id}: has no artifact {artifact}: {str(error).strip().splitlines()[0]}") from error
    if path.is_symlink() or not path.is_file():
        raise UserError(f"run={run_id}: artifact {artifact} is not a plain file")
    return path
