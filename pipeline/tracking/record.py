"""One run in MLflow: its parameters, metrics, files and how it ended."""

import math
import re
import time
import uuid
import warnings
from pathlib import Path
from types import TracebackType
from typing import Any

import mlflow
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import Metric, Param, RunTag

from pipeline.tracking.store import HOME, Store, mask_credentials


class TrackedRun:
    """A run from its creation to its end: FINISHED, FAILED by an exception, or KILLED by an interrupt.

    Use as a context manager. `folder` is the run's own place under mlruns/, named by `key`, a uuid made before MLflow
    gives its id.
    """

    def __init__(self, store: Store, name: str, tags: dict[str, str]) -> None:
        self.store = store
        self.key = uuid.uuid4().hex
        self.folder = HOME / "runs" / self.key
        self._client = mlflow.MlflowClient(store.uri)
        created = self._client.create_run(
            store.experiment_id, run_name=mask_credentials(name), tags={"run_key": self.key, **tags}
        )
        self.id = str(created.info.run_id)

    def __enter__(self) -> "TrackedRun":
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # The active run of this thread: MLflow's model logging and system metrics look for it.
            mlflow.start_run(run_id=self.id, log_system_metrics=True)
        except BaseException as error:  # Python calls no __exit__ then, and the run would stay RUNNING for ever
            self._client.set_terminated(self.id, "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            status = "FINISHED"
        elif issubclass(kind, KeyboardInterrupt):
            status = "KILLED"
        else:
            status = "FAILED"
            self.tag(failure=f"{kind.__name__}: {error}"[:5000])
        mlflow.end_run(status)

    def params(self, values: dict[str, Any]) -> None:
        """Log parameters; credentials are masked, and what is longer than MLflow keeps is cut with a mark."""
        params = []
        for key, value in values.items():
            text = mask_credentials(str(value))
            params.append(Param(key, text if len(text) <= 6000 else text[:5997] + "..."))
        for start in range(0, len(params), 100):  # MLflow's limit for one request
            self._client.log_batch(self.id, params=params[start : start + 100])

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Log metrics of one step as one request. A value that is NaN (a class that does not occur) is left out."""
        now = int(time.time() * 1000)
        found = [Metric(key, float(value), now, step) for key, value in values.items() if not math.isnan(value)]
        for start in range(0, len(found), 1000):
            self._client.log_batch(self.id, metrics=found[start : start + 1000])

    def tag(self, **tags: str) -> None:
        """Set tags; a dot in a name is written as two underscores."""
        found = [RunTag(key.replace("__", "."), mask_credentials(value)) for key, value in tags.items()]
        self._client.log_batch(self.id, tags=found)

    def files(self, folder: Path, place: str) -> None:
        """Keep a folder's contents as artifacts under `place`."""
        self._client.log_artifacts(self.id, str(folder), place)

    def dataset(self, split: str, name: str, root: Path, digest: str) -> None:
        """Name the data of a split; MLflow keeps 36 characters of a digest."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow has two equal sources for a folder, and wonders which is meant
            source = resolve_dataset_source(str(root.resolve()))
        data = MetaDataset(source=source, name=name, digest=digest[:36])  # type: ignore[abstract]  # its own example
        mlflow.log_input(data, context=split)


def metric_names(prefix: str, names: list[str]) -> list[str]:
    """A metric's name for each class, `<prefix>/<class>`: what MLflow refuses is replaced, and all are different."""
    found: list[str] = []
    for index, name in enumerate(names):
        safe = re.sub(r"[^\w\-. :]", "_", name)[:200].strip(" .") or "_"  # MLflow keeps 250 characters
        metric, number = f"{prefix}/{safe}", index
        while metric in found:
            metric, number = f"{prefix}/{safe}_{number}", number + 1
        found.append(metric)
    return found
