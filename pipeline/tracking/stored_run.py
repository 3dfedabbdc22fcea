"""A run that was tracked before: found by name, its known files fetched one by one into a private folder.

What comes from a tracking server is hostile input. Only files that this program writes are asked for, by their exact
names; what arrives is a plain file of a bounded size, and is read as numbers, JSON or plain YAML: no code, no pickle.
"""

import contextlib
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import mlflow
from mlflow.entities import FileInfo, Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from pipeline.config.addresses import database_file, tracking_uri
from pipeline.config.schema import SCHEMA_VERSION, Config
from pipeline.config.stored import read_config
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import mask_credentials
from pipeline.tracking.artifact_uris import in_its_own_place, local_folder, moved_away
from pipeline.tracking.store import Store, Unreachable, answering, connect
from pipeline.tracking.sweep_runs import IS_SWEEP

TEXT, ARRAYS = 2**26, 2**34  # bytes: the largest text file, the largest file of weights


@dataclass(frozen=True)
class StoredRun:
    """A run in MLflow, and a private folder for what is fetched of it, that ends with this object's `folder`."""

    run: Run
    client: mlflow.MlflowClient
    folder: tempfile.TemporaryDirectory[str]
    told: str  # the key and the name by which it was asked for, as messages call it

    @property
    def run_id(self) -> str:
        """MLflow's id."""
        return str(self.run.info.run_id)

    @cached_property
    def _artifacts(self) -> ArtifactRepository:
        return get_artifact_repository(self.run.info.artifact_uri, self.client.tracking_uri)

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
            found = {name: self.client.get_metric_history(self.run_id, name) for name in names}
        return {name: {metric.step: metric.value for metric in metrics} for name, metrics in found.items()}

    def listed(self, folder: str) -> dict[str, FileInfo]:
        """What the run has in a folder, by the whole path of each entry; its names are the server's: to be checked."""
        with answering(self.client.tracking_uri):
            return {entry.path: entry for entry in self._artifacts.list_artifacts(folder)}

    def fetch(self, artifact: str, listed: Mapping[str, FileInfo] | None = None) -> Path:
        """One known file of the run, below the private folder.

        Args:
            listed: what `listed` gave for its folder, where many files of one folder are fetched.

        Raises:
            UserError: the run does not have it, or what it has is no plain file or larger than such a file can be.
        """
        place = self.path(artifact)
        if place.is_file():
            return place
        largest = ARRAYS if place.suffix == ".npz" else TEXT
        told = f"{self.told}: artifact {artifact}"
        alone = listed is None
        try:
            if listed is None:
                found = self.client.list_artifacts(self.run_id, str(Path(artifact).parent))
                listed = {entry.path: entry for entry in found}
            entry = listed.get(artifact)
            if entry is None:
                raise UserError(f"{self.told}: has no artifact {artifact}{self._all_gone()}")
            if entry.is_dir or self._behind_a_link(artifact):
                raise UserError(f"{told} is not a plain file")
            if (entry.file_size or 0) > largest:
                raise UserError(f"{told} has {entry.file_size} bytes; at most {largest} expected")
            arrivals = tempfile.mkdtemp(dir=self.folder.name)
            # The client would ask the tracking server for the run again, and for its models, with every file.
            download = (
                partial(self.client.download_artifacts, self.run_id) if alone else self._artifacts.download_artifacts
            )
            path = Path(download(artifact, arrivals))
        except (MlflowException, OSError, ImportError) as error:
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise UserError(f"{self.told}: has no artifact {artifact}: {reason}") from error
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
            return artifact in {
                entry.path for entry in self.client.list_artifacts(self.run_id, str(Path(artifact).parent))
            }

    def _all_gone(self) -> str:
        """Why a run on this machine has no artifact at all, where that is so."""
        root = local_folder(self.run.info.artifact_uri)
        if root is None or root.is_dir():
            return ""
        experiment = self.run.info.artifact_uri.removesuffix(f"/{self.run_id}/artifacts")
        return f": {moved_away(experiment, self.client.tracking_uri) or f'there is no folder {root}'}"

    def _behind_a_link(self, artifact: str) -> bool:
        """Whether a store on this machine has a link in the place of the file, or of a folder above it."""
        root = local_folder(self.run.info.artifact_uri)  # …/<run id>/artifacts; what is above is no matter of the run
        if root is None:
            return False
        inside = [root / part for part in (Path(artifact), *Path(artifact).parents)]
        return any(place.is_symlink() for place in (*inside, root.parent))


def open_run(name: str, uri: str | None, key: str = "run") -> StoredRun:
    """A run by MLflow's id or by its run_key.

    Args:
        key: what the command calls it, for messages.

    Raises:
        UserError: there is no such run, it was deleted, or a newer version of this program made it.
    """
    client = open_client(uri)
    address = client.tracking_uri
    with answering(address):
        run = find_run(client, name, address, key)
    return as_stored(run, client, f"{key}={name}")


def as_stored(run: Run, client: mlflow.MlflowClient, told: str) -> StoredRun:
    """A run that a client found.

    Args:
        told: what messages call it.

    Raises:
        UserError: it was deleted, a newer version of this program made it, or its artifacts are nowhere that MLflow
            keeps any.
    """
    if run.info.lifecycle_stage != "active":
        raise UserError(f"{told}: was deleted; `mlflow runs restore --run-id {run.info.run_id}` brings it back")
    schema = run.data.tags.get("schema", "1")
    if not re.fullmatch("[0-9]{1,9}", schema) or int(schema) > SCHEMA_VERSION:
        raise UserError(
            f"{told}: was made by a newer version of this program (schema {schema[:20]}, this one: {SCHEMA_VERSION})"
        )
    if not in_its_own_place(run.info.run_id, run.info.artifact_uri, client.tracking_uri):
        raise UserError(f"{told}: says that its artifacts are in {run.info.artifact_uri}, which is no place for them")
    return StoredRun(run, client, tempfile.TemporaryDirectory(prefix="run-"), told)


def open_client(uri: str | None) -> mlflow.MlflowClient:
    """A client of a store that is there already.

    Raises:
        UserError: it is not, or does not answer.
    """
    address = tracking_uri(uri)
    database = database_file(address)
    if database is not None and not database.is_file():
        raise UserError(
            f"tracking.uri={address}: there is no such database; start in the folder that holds mlruns/, "
            "or say where the runs are with tracking.uri=…"
        )
    with answering(address):
        return connect(address)


def open_experiment(name: str, uri: str | None) -> tuple[mlflow.MlflowClient, str | None]:
    """A client, and the id of an experiment that was not deleted; None where none has the name.

    Raises:
        UserError: the store is not there, or does not answer.
    """
    client = open_client(uri)
    with answering(client.tracking_uri):
        found = client.get_experiment_by_name(name)
    return client, None if found is None or found.lifecycle_stage != "active" else str(found.experiment_id)


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


def runs_with_fingerprint(fingerprint: str, store: Store | None) -> list[Run] | None:
    """The runs of an experiment with a fingerprint, the newest first; None while the store does not answer."""
    if store is None:
        return None
    client = mlflow.MlflowClient(store.uri)
    try:
        with answering(store.uri):
            return list(client.search_runs([store.experiment_id], f"tags.fingerprint = '{fingerprint}'"))
    except Unreachable:
        return None


def fetch_weights(stored: StoredRun) -> tuple[Path, str]:
    """The weights that a finished run was scored with, and their recorded hash.

    Raises:
        UserError: it has none, and why.
    """
    tags = stored.tags
    recorded = tags.get("weights_sha256")
    if recorded is None:
        reason = f"it is {stored.run.info.status}, and only a FINISHED run has them"
        if IS_SWEEP in tags:
            reason = "it is a sweep, and each of its trials has its own: name one of them"
        elif "pruned" in tags:
            reason = "it is a trial that was pruned before its end"
        raise UserError(f"{stored.told}: has no evaluated weights; {reason}")
    return stored.fetch("checkpoints/best/weights.npz"), recorded
