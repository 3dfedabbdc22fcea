"""A run that was tracked before: found by name, its known files fetched one by one into a private folder.

What comes from a tracking server is hostile input. Only files that this program writes are asked for, by their exact
names; what arrives is a plain file of a bounded size, and is read as numbers, JSON or plain YAML: no code, no pickle.
"""

import contextlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

import mlflow
from mlflow.entities import Run
from mlflow.exceptions import MlflowException

from pipeline.config import SCHEMA_VERSION, Config
from pipeline.errors import UserError
from pipeline.stored_config import read_config
from pipeline.tracking.store import answering, connect, database_file, mask_credentials, tracking_uri

TEXT, ARRAYS = 2**26, 2**34  # bytes: the largest text file, the largest file of weights


@dataclass(frozen=True)
class StoredRun:
    """A run in MLflow, and a private folder for what is fetched of it, that ends with this object's `folder`."""

    run: Run
    client: mlflow.MlflowClient
    folder: tempfile.TemporaryDirectory[str]

    @property
    def id(self) -> str:
        """MLflow's id."""
        return str(self.run.info.run_id)

    @property
    def tags(self) -> dict[str, str]:
        """The run's tags."""
        return dict(self.run.data.tags)

    def config(self) -> Config:
        """The configuration that it was made with, checked by this program's schema like one typed by hand.

        Raises:
            UserError: it has none, or not one of this program's.
        """
        return read_config(self.fetch("config/config.yaml"))

    def history(self) -> dict[str, dict[int, float]]:
        """Every metric as {step: value}."""
        names = sorted(self.run.data.metrics)
        with answering(self.client.tracking_uri):
            found = {name: self.client.get_metric_history(self.id, name) for name in names}
        return {name: {metric.step: metric.value for metric in metrics} for name, metrics in found.items()}

    def fetch(self, artifact: str) -> Path:
        """One known file of the run, below the private folder.

        Raises:
            UserError: the run does not have it, or what it has is no plain file or larger than such a file can be.
        """
        place = self.path(artifact)
        if place.is_file():
            return place
        largest = ARRAYS if place.suffix == ".npz" else TEXT
        told = f"run={self.id}: artifact {artifact}"
        try:
            listed = {entry.path: entry for entry in self.client.list_artifacts(self.id, str(Path(artifact).parent))}
            entry = listed.get(artifact)
            if entry is None:
                raise UserError(f"run={self.id}: has no artifact {artifact}")
            if entry.is_dir or self._behind_a_link(artifact):
                raise UserError(f"{told} is not a plain file")
            if (entry.file_size or 0) > largest:
                raise UserError(f"{told} has {entry.file_size} bytes; at most {largest} expected")
            arrivals = tempfile.mkdtemp(dir=self.folder.name)
            path = Path(self.client.download_artifacts(self.id, artifact, arrivals))
        except (MlflowException, OSError) as error:
            raise UserError(
                f"run={self.id}: has no artifact {artifact}: {str(error).strip().splitlines()[0]}"
            ) from error
        if path.is_symlink() or not path.is_file() or not path.is_relative_to(arrivals):
            raise UserError(f"{told} is not a plain file")
        if path.stat().st_size > largest:
            raise UserError(f"{told} is larger than the {largest} bytes expected")
        place.parent.mkdir(parents=True, exist_ok=True)
        return path.rename(place)

    def path(self, artifact: str) -> Path:
        """Where a fetched file, or a folder of fetched files, is."""
        return Path(self.folder.name) / artifact

    def has(self, artifact: str) -> bool:
        """Whether the run has a file of this name."""
        with answering(self.client.tracking_uri):
            return artifact in {entry.path for entry in self.client.list_artifacts(self.id, str(Path(artifact).parent))}

    def _behind_a_link(self, artifact: str) -> bool:
        """Whether a store on this machine has a link in the place of the file, or of a folder above it."""
        address = urlsplit(self.run.info.artifact_uri)
        if address.scheme not in ("", "file"):
            return False
        root = Path(unquote(address.path))
        return any((root / part).is_symlink() for part in (Path(artifact), *Path(artifact).parents[:-1]))


def open_run(name: str, uri: str | None, key: str = "run") -> StoredRun:
    """A run by MLflow's id or by its run_key.

    Args:
        key: what the command calls it, for messages.

    Raises:
        UserError: there is no such run, it was deleted, or a newer version of this program made it.
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
        run = find_run(client, name, address, key)
    if run.info.lifecycle_stage != "active":
        raise UserError(f"{key}={name}: was deleted; `mlflow runs restore --run-id {run.info.run_id}` brings it back")
    schema = run.data.tags.get("schema", "1")
    if not schema.isdecimal() or int(schema) > SCHEMA_VERSION:
        raise UserError(
            f"{key}={name}: was made by a newer version of this program (schema {schema}, this one: {SCHEMA_VERSION})"
        )
    return StoredRun(run, client, tempfile.TemporaryDirectory(prefix="run-"))


def find_run(client: mlflow.MlflowClient, name: str, address: str, key: str = "run") -> Run:
    """The run with this id or run_key.

    Raises:
        UserError: no run has it.
    """
    with contextlib.suppress(MlflowException):
        return client.get_run(name)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    quoted = name.replace("'", "")
    for match in client.search_runs(experiments, f"tags.run_key = '{quoted}'", max_results=1):
        return match
    raise UserError(f"{key}={name}: no run has this id or run_key at tracking.uri={mask_credentials(address)}")


def fetch_weights(stored: StoredRun) -> tuple[Path, str]:
    """The weights that a finished run was scored with, and their recorded hash.

    Raises:
        UserError: it has none yet.
    """
    recorded = stored.tags.get("weights_sha256")
    if recorded is None:
        raise UserError(
            f"run={stored.id}: has no evaluated weights; it is {stored.run.info.status}, "
            "and only a FINISHED run has them"
        )
    return stored.fetch("checkpoints/best/weights.npz"), recorded
