"""One run as the rest of the program uses it: what is logged goes into its journal, and from there into MLflow."""

import re
import shutil
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from pipeline.config.addresses import recorded_uri
from pipeline.config.environment import experiment_name
from pipeline.config.schema import SCHEMA_VERSION, TrackingConfig
from pipeline.runtime import output
from pipeline.runtime.errors import RunFailed
from pipeline.runtime.process import Process
from pipeline.runtime.text import mask_credentials
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import Journal
from pipeline.tracking.memory_deaths import record_kills
from pipeline.tracking.records import Begin, DatasetUsed, ModelScores, Params, ProcessStarted, Status, Tags, View
from pipeline.tracking.refusals import summary
from pipeline.tracking.run_ref import RUNS
from pipeline.tracking.sender import Sender
from pipeline.tracking.step_images import PLACE as IMAGES
from pipeline.tracking.step_images import LoggedImage, write_images
from pipeline.tracking.store import Store
from pipeline.tracking.system_metrics import SystemMetrics

START_TIMEOUT = 10.0  # seconds that a run waits at its start for MLflow's id
SERVER_TIMEOUT = 30.0  # seconds that a finished run waits for a server that does not answer
INTERRUPT_TIMEOUT = 5.0  # seconds that an interrupted run waits for anything
# Characters that a store keeps: PostgreSQL refuses longer names of runs, and MLflow longer parameters and tags.
LONGEST_NAME, LONGEST_PARAM, LONGEST_TAG = 250, 6000, 5000


class TrackedRun:
    """A run from its beginning, or from its resumption, to its end: FINISHED, FAILED by an exception, or KILLED.

    Use as a context manager.

    Attributes:
        folder: the run's own folder under mlruns/.
        key: the uuid that names the folder, made before MLflow gives its id.
    """

    def __init__(self, journal: Journal, tracking: TrackingConfig, trains: bool = True) -> None:
        """Args: trains: False for a sweep's own run, which only contains its trials."""
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
            key: a uuid that no other run has; empty: a new one.
            parent: run_key of the sweep that it is a trial of.
        """
        journal = Journal(RUNS / (key or uuid.uuid4().hex))
        journal.append(begin_record(tracking, name, tags, config, overrides, parent))
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
            self.journal.append(ProcessStarted(vars(Process.this())))
            self._sender.start()
            if self._trains:
                record_kills(self.folder)
                self._system_metrics.start()
            self._sender.wait_for_run(START_TIMEOUT)
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
            if lost := output.lost():
                self.set_tags({"display_lost": lost})
            if kind is not None and not interrupted:
                self.set_tags({"failure": f"{kind.__name__}: {error}"[:LONGEST_TAG]})
            self.journal.append(Status("KILLED" if interrupted else "FAILED" if kind else "FINISHED"))
        except RunFailed as failure:  # a full disk: the next start on this machine will mark the run
            full = failure
        unsent = self._sender.close(SERVER_TIMEOUT, INTERRUPT_TIMEOUT if interrupted else float("inf"))
        if unsent is not None:
            print(
                f"warning: {unsent}; a part of run {self.key} is not in MLflow yet: python -m pipeline.sync sends it",
                file=sys.stderr,
            )
        for line in summary(self._delivery.deferred.values()):
            print(
                f"warning: MLflow has not stored {line}; it waits in {self.journal.outbox.folder}; when that is mended "
                f"python -m pipeline.sync run={self.key} sends it",
                file=sys.stderr,
            )
        if unsent is None and kind is None and not self._delivery.deferred:
            shutil.rmtree(self.journal.outbox.folder, ignore_errors=True)
        self.journal.close()
        if full is not None:
            if kind is None:
                raise full
            print(f"error: {full}", file=sys.stderr)
        if interrupted:
            how = f"resume={self.name}" if self._trains else "the same command"
            print(f"run {self.name} is KILLED; {how} continues it", file=sys.stderr)

    def log_params(self, values: Mapping[str, Any]) -> None:
        """Log parameters; see `as_params`."""
        self.journal.append(Params(as_params(values)))

    def log_metrics(self, values: dict[str, float], step: int) -> None:
        """Log metrics of one step. A value that is NaN, or that this step has already, is left out."""
        self.journal.append_metrics(values, step)

    def set_tags(self, tags: dict[str, str]) -> None:
        """Set tags of the run; credentials in them are masked."""
        self.journal.append(Tags({key: mask_credentials(value) for key, value in tags.items()}))

    def log_artifacts(self, folder: Path, artifact_path: str) -> None:
        """Log a folder's files as artifacts under `artifact_path`. The folder stays; its files must never change."""
        self.journal.copy_artifacts(folder, artifact_path)

    def move_artifacts(self, folder: Path, artifact_path: str) -> None:
        """Move a folder into the run's artifacts under `artifact_path`; it is gone from its place afterwards."""
        self.journal.move_artifacts(folder, artifact_path)

    def move_model(self, folder: Path, step: int) -> None:
        """Move a model that `mlflow.pyfunc.save_model` wrote into the run; its folder is gone afterwards.

        Args:
            step: the epoch that its weights are of.
        """
        self.journal.move_model(folder, step)

    def log_model_scores(self, step: int, dataset: str, digest: str, metrics: list[str]) -> None:
        """Say that metrics of a step, logged before, are scores of the run's model on a dataset."""
        self.journal.append(ModelScores(step, dataset, digest, metrics))

    def log_images(self, split: str, images: Mapping[str, LoggedImage], step: int) -> None:
        """Log images of a split under their keys, as `MlflowClient.log_image` does."""
        now = int(time.time() * 1000)
        write_images(self.folder / IMAGES, images, step, now)
        self.journal.move_images(self.folder / IMAGES, split, step, list(images), now)

    def share_view(self, value: str) -> None:
        """Let MLflow's UI show the experiment in this view when it is opened with the run's key."""
        if [record.value for record in self.journal.of(View)][-1:] != [value]:
            self.journal.append(View(value))

    def log_dataset(self, split: str, name: str, root: Path, digest: str) -> None:
        """Log the data of a split."""
        self.journal.append(DatasetUsed(split, name, str(root.resolve()), digest))


def begin_record(
    tracking: TrackingConfig,
    name: str,
    tags: Mapping[str, str],
    config: str,
    overrides: list[str],
    parent: str | None = None,
) -> Begin:
    """The first record of a run, with credentials masked."""
    return Begin(
        name=mask_credentials(name)[:LONGEST_NAME],
        tags={"schema": str(SCHEMA_VERSION), **{key: mask_credentials(value) for key, value in tags.items()}},
        tracking_uri=recorded_uri(tracking.uri),
        experiment=experiment_name(tracking),
        config=mask_credentials(config),
        overrides=[mask_credentials(override) for override in overrides],
        parent=parent,
    )


def as_params(values: Mapping[str, Any]) -> dict[str, str]:
    """Values as MLflow stores parameters: credentials masked, and text cut that is too long, with a mark."""
    texts = {key: mask_credentials(str(value)) for key, value in values.items()}
    return {
        key: text if len(text) <= LONGEST_PARAM else text[: LONGEST_PARAM - 3] + "..." for key, text in texts.items()
    }


def metric_names(prefix: str, names: list[str]) -> list[str]:
    """A metric for each class, `<prefix>/<class>`: all different, without the characters that MLflow refuses."""
    found: list[str] = []
    for index, name in enumerate(names):
        safe = re.sub(r"[^\w\-. :]", "_", name)[:200].strip(" .") or "_"  # MLflow stores 250 characters
        metric, number = f"{prefix}/{safe}", index
        while metric in found:
            metric, number = f"{prefix}/{safe}_{number}", number + 1
        found.append(metric)
    return found
