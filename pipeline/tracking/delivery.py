"""From a run's journal into MLflow, record by record, in order; a record that is sent again changes nothing."""

import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import (
    DatasetInput,
    InputTag,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    Run,
    RunTag,
    ViewType,
)
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_PARENT_RUN_ID

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import where
from pipeline.tracking.artifact_uris import believed
from pipeline.tracking.journal import OUTBOX, Journal, Record
from pipeline.tracking.ownership import run_of, taken_over
from pipeline.tracking.store import Store, answering, connect, open_store

POSITION = "sent.json"


class Delivery:
    """Sends one journal to one tracking address and remembers beside it how far it came.

    Attributes:
        sent: how many records MLflow has.
        run_id: MLflow's name of the run, None before it has been made.
    """

    def __init__(self, journal: Journal, tracking: TrackingConfig, shared: bool = False) -> None:
        """Args: shared: whether other machines may have gone on with the run: a sweep's own run has no history."""
        self.journal, self.tracking, self._shared = journal, tracking, shared
        self.store: Store | None = None
        self.run_id, self.sent = read_position(journal.folder)
        if self.sent > len(journal.records):  # a disk that lost the end of the journal, or a copy of an earlier one
            self.sent = 0

    @property
    def done(self) -> bool:
        """Whether MLflow has the whole journal."""
        return self.sent >= len(self.journal.records)

    def send_next(self) -> None:
        """Send one record.

        Raises:
            UserError, …: it did not go through; to be tried again.
        """
        store = self.open()
        record = self.journal.records[self.sent]
        with answering(store.uri):
            self._apply(record, store)
        self.sent += 1
        write_position(self.journal.folder, self.run_id, self.sent)
        if "parcel" in record:
            shutil.rmtree(self._parcel(record), ignore_errors=True)

    def open(self) -> Store:
        """Connect, and find out how much of the journal this store has, where that is not done yet.

        Raises:
            UserError: another machine has gone on with the run, or its artifacts are where nothing is sent to.
            UserError, MlflowException, OSError, …: it does not answer; to be tried again.
        """
        if self.store is None:
            store = open_store(self.tracking)
            self._client = connect(store.uri)
            self._find_run(store)
            self.store = store  # last: what failed half way is done again
        return self.store

    def heartbeat(self, instant: float) -> None:
        """Tell other machines, in seconds since the epoch, that the run is alive."""
        if self.store is not None and self.run_id is not None:
            with answering(self.store.uri):
                self._client.set_tag(self.run_id, "heartbeat", f"{instant:.0f}")

    def _find_run(self, store: Store) -> None:
        """Find the run that an earlier process made; in another store than before, all is told from the start."""
        run = None if self.run_id is None else run_of(self._client, self.run_id)
        if run is None or run.data.tags.get("run_key") != self.journal.folder.name:
            run, self.run_id, self.sent = self._made_already(store), None, 0
        if run is None:
            return
        self.run_id = _believed(run, store)
        process = taken_over(self.journal.records, run.data.tags)
        if process is not None and not self._shared:  # it would be told twice, and end while it is alive
            raise UserError(
                f"run {self.run_id}: was gone on with{where(process)}; "
                f"what {self.journal.folder} has besides is not sent"
            )

    def _made_already(self, store: Store) -> Run | None:
        key = self.journal.folder.name
        made = self._client.search_runs([store.experiment_id], f"tags.run_key = '{key}'", max_results=1)
        return made[0] if made else None

    def _apply(self, record: Record, store: Store) -> None:
        kind = record["kind"]
        if kind == "begin":
            # Asked before every attempt: the one before may have made it, and only its answer was lost.
            if self.run_id is None and (made := self._made_already(store)) is not None:
                self.run_id = _believed(made, store)
            if self.run_id is None:
                tags = {**record["tags"], "run_key": self.journal.folder.name}
                if "parent" in record:
                    tags[MLFLOW_PARENT_RUN_ID] = self._parent(record["parent"], store)
                created = self._client.create_run(
                    store.experiment_id, start_time=record["time"], run_name=record["name"], tags=tags
                )
                self.run_id = _believed(created, store)
            return
        run_id = self.run_id
        assert run_id is not None  # a journal starts with "begin"
        if kind == "process":
            self._client.update_run(run_id, status="RUNNING")
            if "failure" in self._client.get_run(run_id).data.tags:  # of an earlier process
                self._client.delete_tag(run_id, "failure")
            stored = {**record["process"], "heartbeat": int(record["time"] / 1000)}
            self._client.log_batch(run_id, tags=[RunTag(key, str(value)) for key, value in stored.items()])
        elif kind == "params":
            params = [Param(key, value) for key, value in record["values"].items()]
            for start in range(0, len(params), 100):  # MLflow's limit for one request
                self._client.log_batch(run_id, params=params[start : start + 100])
        elif kind == "metrics":
            # The journalled time: MLflow knows a metric again by its name, step, value and time.
            metrics = [Metric(key, value, record["time"], record["step"]) for key, value in record["values"].items()]
            for start in range(0, len(metrics), 1000):
                self._client.log_batch(run_id, metrics=metrics[start : start + 1000])
        elif kind == "tags":
            self._client.log_batch(run_id, tags=[RunTag(key, value) for key, value in record["values"].items()])
        elif kind == "dataset":
            self._client.log_inputs(run_id, [_dataset_input(record)])
        elif kind == "files":
            parcel = self._parcel(record)
            try:
                if parcel.is_dir():  # another store has it, when all is told again
                    self._client.log_artifacts(run_id, str(parcel), record["place"])
            except (MlflowException, OSError):
                if parcel.is_dir():  # else a newer one took its place meanwhile
                    raise
        elif kind == "model":
            if self._parcel(record).is_dir():
                self._send_model(self._parcel(record), run_id, store)
        elif kind == "status":
            self._client.set_terminated(run_id, record["status"], record["time"])
        else:
            raise ValueError(f"{self.journal.path}: has a record '{kind}', which this version does not know")

    def _send_model(self, folder: Path, run_id: str, store: Store) -> None:
        """What `mlflow.pyfunc.log_model` does with a model that lies in a folder, but once."""
        of_run = f"source_run_id = '{run_id}' AND name = 'model'"
        found = self._client.search_logged_models([store.experiment_id], filter_string=of_run, max_results=1)
        if found:
            model = found[0]
        else:
            params = self._client.get_run(run_id).data.params
            model = self._client.create_logged_model(store.experiment_id, "model", source_run_id=run_id, params=params)
        believed("model", model.model_id, model.artifact_location, store.uri)
        outputs = self._client.get_run(run_id).outputs
        if outputs is None or model.model_id not in {output.model_id for output in outputs.model_outputs}:
            self._client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        described = Model.load(str(folder))
        described.run_id, described.model_id = run_id, model.model_id
        described.artifact_path = model.artifact_location
        whole = self.journal.folder / ".MLmodel"  # replaced at once, since half a file could never be sent
        described.save(str(whole))
        whole.replace(folder / "MLmodel")
        self._client.log_model_artifacts(model.model_id, str(folder))
        self._client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)

    def _parent(self, key: str, store: Store) -> str:
        """MLflow's id of the sweep that the run is a trial of.

        Raises:
            UserError: it is not there yet; whoever has its journal sends it.
        """
        found = self._client.search_runs(
            [store.experiment_id], f"tags.run_key = '{key}'", run_view_type=ViewType.ALL, max_results=1
        )
        if not found:
            raise UserError(f"the sweep of this trial, {key}, is not in MLflow yet")
        return str(found[0].info.run_id)

    def _parcel(self, record: Record) -> Path:
        return self.journal.folder / OUTBOX / os.path.basename(record["parcel"])


def read_position(folder: Path) -> tuple[str | None, int]:
    """MLflow's id of a journal's run, and how many of its records MLflow has, as far as that is known beside it.

    What is not known is sent again, which changes nothing.
    """
    try:
        position = json.loads((folder / POSITION).read_text())
        return position["run_id"] and str(position["run_id"]), int(position["records"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, 0


def write_position(folder: Path, run_id: str | None, records: int) -> None:
    """Remember beside a journal that MLflow has so many of its records, under this id."""
    place = folder / POSITION
    private = place.with_name(f".{POSITION}")
    private.write_text(json.dumps({"run_id": run_id, "records": records}))
    private.replace(place)


def _dataset_input(record: dict[str, Any]) -> DatasetInput:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow has two equal sources for a folder, and wonders which is meant
        source = resolve_dataset_source(record["source"])
    # MLflow keeps 36 characters of a digest.
    data = MetaDataset(source=source, name=record["name"], digest=record["digest"][:36])  # type: ignore[abstract]
    return DatasetInput(data._to_mlflow_entity(), [InputTag(MLFLOW_DATASET_CONTEXT, record["split"])])


def _believed(run: Run, store: Store) -> str:
    return believed("run", run.info.run_id, run.info.artifact_uri, store.uri)
