"""One run as the rest of the program sees it: what is logged goes into its journal, and from there into MLflow."""

import re
import shutil
import sys
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.config.addresses import HOME, tracking_uri
from pipeline.config.schema import SCHEMA_VERSION, TrackingConfig
from pipeline.runtime.errors import RunFailed
from pipeline.runtime.process import Process
from pipeline.runtime.text import mask_credentials
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import Journal
from pipeline.tracking.sender import Sender
from pipeline.tracking.store import Store
from pipeline.tracking.system_metrics import SystemMetrics

RUNS = HOME / "runs"
PATIENCE = 30.0  # seconds that a finished run waits for a server that does not answer
HURRY = 5.0  # seconds that an interrupted run waits for anything


class TrackedRun:
    """A run from its beginning, or from its resumption, to its end: FINISHED, FAILED by an exception, or KILLED.

    Use as a context manager. `folder` is the run's own place under mlruns/, named by `key`, a uuid made before MLflow
    gives its id.
    """

    def __init__(self, journal: Journal, tracking: TrackingConfig, trains: bool = True) -> None:
        """Args: trains: whether it works itself: a sweep's own run only holds its trials."""
        self.journal, self._trains = journal, trains
        self.folder, self.key = journal.folder, journal.folder.name
        self._delivery = Delivery(journal, tracking, shared=not trains)
        self._sender = Sender(self._delivery)
        self._system_metrics = SystemMetrics(journal)

    @staticmethod
    def begin(
        tracking: TrackingConfig,
        name: str,
        tags: dict[str, str],
        config: str,
        overrides: list[str],
        key: str = "",
        parent: str | None = None,
    ) -> "TrackedRun":
        """A new run. Its journal has the configuration before anything else happens.

        Args:
            config: the resolved configuration as YAML.
            key: a uuid that nothing else has; empty: a new one.
            parent: run_key of the sweep that it is a trial of.
        """
        journal = Journal(RUNS / (key or uuid.uuid4().hex))
        write_begin(journal, tracking, name, tags, config, overrides, parent)
        return TrackedRun(journal, tracking)

    @property
    def name(self) -> str:
        """MLflow's id, or the run's key as long as MLflow has not given one; every command takes both."""
        return self._delivery.run_id or self.key

    @property
    def store(self) -> Store | None:
        """Where the run is in MLflow; None as long as MLflow does not answer."""
        return self._delivery.store

    def __enter__(self) -> "TrackedRun":
        try:
            self.journal.reserve()
            self.journal.append("process", process=vars(Process.this()))
            self._sender.start()
            if self._trains:
                self._system_metrics.start()
            self._sender.wait_for_run(seconds=10)
        except BaseException as error:  # Ctrl-C while it waits; Python itself calls `__exit__` only after this
            self.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._system_metrics.stop()
        interrupted = kind is not None and issubclass(kind, KeyboardInterrupt)
        full: RunFailed | None = None
        self.journal.release()
        try:
            if kind is not None and not interrupted:
                self.set_tags({"failure": f"{kind.__name__}: {error}"[:5000]})
            self.journal.append("status", status="KILLED" if interrupted else "FAILED" if kind else "FINISHED")
        except RunFailed as fault:  # a full disk: the next start on this machine will mark the run
            full = fault
        unsent = self._sender.close(PATIENCE, HURRY if interrupted else float("inf"))
        if unsent is not None:
            print(
                f"warning: {unsent}; a part of run {self.key} is not in MLflow yet: python -m pipeline.sync sends it",
                file=sys.stderr,
            )
        elif kind is None:
            shutil.rmtree(self.folder / "outbox", ignore_errors=True)
        self.journal.close()
        if full is not None:
            if kind is None:
                raise full
            print(f"error: {full}", file=sys.stderr)
        if interrupted:
            how = f"resume={self.name}" if self._trains else "the same command"
            print(f"run {self.name} is KILLED; {how} continues it", file=sys.stderr)

    def log_params(self, values: dict[str, Any]) -> None:
        """Log parameters; credentials are masked, and what is longer than MLflow keeps is cut with a mark."""
        texts = {key: mask_credentials(str(value)) for key, value in values.items()}
        cut = {key: text if len(text) <= 6000 else text[:5997] + "..." for key, text in texts.items()}
        self.journal.append("params", values=cut)

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Log metrics of one step. A value that is NaN, or that this step has already, is left out."""
        self.journal.metrics(values, step)

    def set_tags(self, tags: dict[str, str]) -> None:
        """Set tags of the run; credentials in them are masked."""
        self.journal.append("tags", values={key: mask_credentials(value) for key, value in tags.items()})

    def log_artifacts(self, folder: Path, artifact_path: str) -> None:
        """Log a folder's files as artifacts under `artifact_path`. The folder stays; its files must never change."""
        self.journal.post(folder, "files", keep=True, place=artifact_path)

    def move_artifacts(self, folder: Path, artifact_path: str) -> None:
        """Move a folder into the run's artifacts under `artifact_path`; it is gone from its place afterwards."""
        self.journal.post(folder, "files", keep=False, place=artifact_path)

    def move_model(self, folder: Path) -> None:
        """Move a model that `mlflow.pyfunc.save_model` wrote into the run; its folder is gone afterwards."""
        self.journal.post(folder, "model", keep=False)

    def log_dataset(self, split: str, name: str, root: Path, digest: str) -> None:
        """Name the data of a split."""
        self.journal.append("dataset", split=split, name=name, source=str(root.resolve()), digest=digest)


def write_begin(
    journal: Journal,
    tracking: TrackingConfig,
    name: str,
    tags: dict[str, str],
    config: str,
    overrides: list[str],
    parent: str | None = None,
) -> None:
    """Write into a new journal what the run is, with credentials masked."""
    journal.append(
        "begin",
        name=mask_credentials(name)[:250],  # a server on PostgreSQL refuses longer ones
        tags={"schema": str(SCHEMA_VERSION), **{key: mask_credentials(value) for key, value in tags.items()}},
        tracking_uri=None if tracking.uri is None else mask_credentials(tracking_uri(tracking.uri)),
        experiment=tracking.experiment,
        config=mask_credentials(config),
        overrides=[mask_credentials(override) for override in overrides],
        **({} if parent is None else {"parent": parent}),
    )


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
