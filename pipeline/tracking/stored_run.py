"""A run in MLflow, whose known files are fetched one by one into a private folder.

What comes from a tracking server is hostile input. Only files that this program writes are requested, by their exact
names; what arrives is a plain file of a bounded size, and is read as numbers, JSON or plain YAML: no code, no pickle.
"""

import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import mlflow
from mlflow.entities import FileInfo, Run
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from pipeline.config.schema import SCHEMA_VERSION, Config
from pipeline.config.stored import read_config
from pipeline.runtime.errors import UserError
from pipeline.tracking.artifact_uris import is_trusted, local_folder
from pipeline.tracking.records import LONGEST_DIGEST, Metrics, history_of
from pipeline.tracking.registry import PREFIX
from pipeline.tracking.relocation import misplaced
from pipeline.tracking.search import deletion, find_run, open_client
from pipeline.tracking.store import answering
from pipeline.tracking.sweep_runs import IS_SWEEP

LARGEST_TEXT, LARGEST_ARRAYS = 2**26, 2**34  # bytes: of a text file, of a file of weights


@dataclass(frozen=True)
class StoredRun:
    """A run in MLflow, and a private folder for its fetched files, which exists as long as the attribute `folder`."""

    run: Run
    client: mlflow.MlflowClient
    folder: tempfile.TemporaryDirectory[str]
    label: str  # key and name by which it was asked for, `run=abc`: how messages call it

    @property
    def run_id(self) -> str:
        """MLflow's id."""
        return str(self.run.info.run_id)

    @property
    def tags(self) -> dict[str, str]:
        """The run's tags."""
        return dict(self.run.data.tags)

    def config(self) -> Config:
        """The configuration of the run, checked by this program's schema like one typed by hand.

        Raises:
            UserError: it has none, or not one of this program's.
        """
        return read_config(self.fetch("config/config.yaml"))

    def has_data(self, split: str, digest: str) -> bool:
        """Whether this is the digest of a split's data in the run; MLflow stores its beginning."""
        used = self.run.inputs.dataset_inputs if self.run.inputs else []
        context = (MLFLOW_DATASET_CONTEXT, split)
        own = [data.dataset.digest for data in used if context in {(tag.key, tag.value) for tag in data.tags}]
        return digest[:LONGEST_DIGEST] in own

    def metrics(self) -> list[Metrics]:
        """Every metric, as records of a journal: with the times at which they were logged."""
        names = sorted(self.run.data.metrics)
        with answering(self.client.tracking_uri):
            found = [metric for name in names for metric in self.client.get_metric_history(self.run_id, name)]
        records: dict[tuple[int, int], dict[str, float]] = {}
        for metric in found:
            records.setdefault((metric.step, metric.timestamp), {})[metric.key] = metric.value
        return [Metrics(step, values, time=time) for (step, time), values in sorted(records.items())]

    def history(self) -> dict[str, dict[int, float]]:
        """Every metric as {step: value}."""
        return history_of(self.metrics())

    def has(self, artifact: str) -> bool:
        """Whether the run has a file of this name."""
        with answering(self.client.tracking_uri):
            folder = str(Path(artifact).parent)
            return artifact in {entry.path for entry in self.client.list_artifacts(self.run_id, folder)}

    def listed(self, folder: str) -> dict[str, FileInfo]:
        """The contents of a folder, by the whole path of each entry. The names are the server's: to be checked."""
        with answering(self.client.tracking_uri):
            return {entry.path: entry for entry in self._artifacts.list_artifacts(folder)}

    def path(self, artifact: str) -> Path:
        """Where a fetched file, or a folder of fetched files, is."""
        return Path(self.folder.name) / artifact

    def fetch(self, artifact: str, listed: Mapping[str, FileInfo] | None = None) -> Path:
        """One known file of the run, below the private folder.

        Args:
            listed: the result of `listed` for its folder, if many files of one folder are fetched.

        Raises:
            UserError: the run does not have it, or it is not a plain file, or it is larger than such a file can be.
        """
        place = self.path(artifact)
        if place.is_file():
            return place
        arrivals = tempfile.mkdtemp(dir=self.folder.name)
        try:
            path = Path(self._download(artifact, listed, arrivals))
        except (MlflowException, OSError, ImportError) as error:
            reason = (str(error).strip() or repr(error)).splitlines()[0]
            raise UserError(f"{self.label}: has no artifact {artifact}: {reason}") from error
        if path.is_symlink() or not path.is_file() or not path.is_relative_to(arrivals):
            raise UserError(f"{self.label}: artifact {artifact} is not a plain file")
        if path.stat().st_size > (largest := _largest(artifact)):
            raise UserError(f"{self.label}: artifact {artifact} is larger than the {largest} bytes expected")
        place.parent.mkdir(parents=True, exist_ok=True)
        return path.rename(place)

    def _download(self, artifact: str, listed: Mapping[str, FileInfo] | None, arrivals: str) -> str:
        """Download a file into a folder, unless its entry shows that it is missing or not what is expected."""
        # For one file alone the client is used; it would ask the tracking server for the run again with every file.
        download: Callable[[str, str], str] = self._artifacts.download_artifacts
        if listed is None:
            found = self.client.list_artifacts(self.run_id, str(Path(artifact).parent))
            listed = {entry.path: entry for entry in found}
            download = partial(self.client.download_artifacts, self.run_id)
        entry, largest = listed.get(artifact), _largest(artifact)
        if entry is None:
            raise UserError(f"{self.label}: has no artifact {artifact}{self._missing_root()}")
        if entry.is_dir or self._behind_a_link(artifact):
            raise UserError(f"{self.label}: artifact {artifact} is not a plain file")
        if (entry.file_size or 0) > largest:
            raise UserError(
                f"{self.label}: artifact {artifact} has {entry.file_size} bytes; at most {largest} expected"
            )
        return download(artifact, arrivals)

    @cached_property
    def _artifacts(self) -> ArtifactRepository:
        return get_artifact_repository(self.run.info.artifact_uri, self.client.tracking_uri)

    def _missing_root(self) -> str:
        """Why a run on this machine has no artifacts at all, if that is so."""
        root = local_folder(self.run.info.artifact_uri)
        if root is None or root.is_dir():
            return ""
        experiment = self.run.info.artifact_uri.removesuffix(f"/{self.run_id}/artifacts")
        return f": {misplaced(experiment, self.client.tracking_uri) or f'the folder {root} does not exist'}"

    def _behind_a_link(self, artifact: str) -> bool:
        """Whether a store on this machine has a link in place of the file, or of a folder above it."""
        root = local_folder(
            self.run.info.artifact_uri
        )  # …/<run id>/artifacts; what is above does not belong to the run
        if root is None:
            return False
        inside = [root / part for part in (Path(artifact), *Path(artifact).parents)]
        return any(place.is_symlink() for place in (*inside, root.parent))


def _largest(artifact: str) -> int:
    return LARGEST_ARRAYS if artifact.endswith(".npz") else LARGEST_TEXT


def open_run(name: str, uri: str | None, key: str = "run") -> StoredRun:
    """A run by MLflow's id, by its run_key, or as a registered model, `models:/<name>@<alias>` or `…/<version>`.

    Args:
        key: what the command calls the run, for messages.

    Raises:
        UserError: there is no such run, it was deleted, or a newer version of this program made it.
    """
    client = open_client(uri)
    with answering(client.tracking_uri):
        run = find_run(client, name, key)
    return as_stored(run, client, f"{key}={name}")


def run_id_of(name: str, uri: str | None, key: str) -> str:
    """MLflow's id of the run of a registered model, `models:/…`; any other name as it is.

    For what looks for a run on this machine first.

    Raises:
        UserError: there is no such model, or it does not come from a run.
    """
    if not name.startswith(PREFIX):
        return name
    stored = open_run(name, uri, key)
    with stored.folder:
        return stored.run_id


def open_runs(names: str, uri: str | None) -> list[StoredRun]:
    """The runs that `run=` names, separated by commas.

    Raises:
        UserError: one of them cannot be opened, or is named twice.
    """
    listed = names.split(",")
    if "" in listed:
        raise UserError(f"run={names}: run ids with one comma between them expected")
    found: dict[str, StoredRun] = {}
    for name in listed:
        stored = open_run(name, uri)
        if stored.run_id in found:
            raise UserError(f"run={names}: names run {stored.run_id} twice; each run once expected")
        found[stored.run_id] = stored
    return list(found.values())


def as_stored(run: Run, client: mlflow.MlflowClient, label: str) -> StoredRun:
    """A run that a client found.

    Args:
        label: how messages call it.

    Raises:
        UserError: it was deleted, a newer version of this program made it, or its artifacts are in a location that is
            not trusted.
    """
    if (deleted := deletion(client, run)) is not None:
        raise UserError(f"{label}: {deleted}")
    schema = run.data.tags.get("schema", "1")
    if not re.fullmatch("[0-9]{1,9}", schema) or int(schema) > SCHEMA_VERSION:
        raise UserError(
            f"{label}: was made by a newer version of this program (schema {schema[:20]}, this one: {SCHEMA_VERSION})"
        )
    if not is_trusted(run.info.run_id, run.info.artifact_uri, client.tracking_uri):
        raise UserError(
            f"{label}: gives {run.info.artifact_uri} as the location of its artifacts, where MLflow does not store any"
        )
    return StoredRun(run, client, tempfile.TemporaryDirectory(prefix="run-"), label)


def fetch_weights(stored: StoredRun) -> tuple[Path, str]:
    """The weights that a finished run was evaluated with, and their recorded SHA-256.

    Raises:
        UserError: it does not have any, and why.
    """
    tags = stored.tags
    recorded = tags.get("weights_sha256")
    if recorded is None:
        reason = f"it is {stored.run.info.status}, and only a FINISHED run has them"
        if IS_SWEEP in tags:
            reason = "it is a sweep, and each of its trials has its own; name one of them"
        elif "pruned" in tags:
            reason = "it is a trial that was pruned before its end"
        raise UserError(f"{stored.label}: has no evaluated weights; {reason}")
    return stored.fetch("checkpoints/best/weights.npz"), recorded
