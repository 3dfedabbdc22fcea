"""One run in MLflow, and how each kind of journal record is written to it; writing a record again changes nothing."""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import mlflow
from mlflow.data.dataset_source_registry import resolve_dataset_source
from mlflow.data.meta_dataset import MetaDataset
from mlflow.entities import (
    DatasetInput,
    InputTag,
    LoggedModel,
    LoggedModelOutput,
    LoggedModelStatus,
    Metric,
    Param,
    RunTag,
)
from mlflow.models import Model as ModelDescription
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT, MLFLOW_LOGGED_IMAGES

from pipeline.runtime.files import publish
from pipeline.tracking.artifact_uris import checked_location
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import (
    LONGEST_DIGEST,
    Artifacts,
    DatasetUsed,
    Images,
    Metrics,
    Model,
    ModelScores,
    Params,
    ProcessStarted,
    Record,
    Status,
    Tags,
    Unknown,
    View,
    WithFiles,
)
from pipeline.tracking.refusals import FilesRefused
from pipeline.tracking.shared_view import TAG
from pipeline.tracking.step_images import PLACE as IMAGES
from pipeline.tracking.store import Store, reason_in_words

MOST_PARAMS, MOST_METRICS = 100, 1000  # in one request: MLflow's limits
PATIENCE = 60.0  # seconds for which the files of one parcel are tried one by one: a store that hangs takes 30 for each


@dataclass(frozen=True)
class RunWriter:
    """Writes records of a journal to a run that exists in MLflow."""

    client: mlflow.MlflowClient
    store: Store
    run_id: str
    journal: Journal

    def write(self, record: Record) -> None:
        """Write one record, whatever its kind.

        Raises:
            ValueError: this version does not know its kind.
            UserError, MlflowException, OSError, …: it could not be written; it can be tried again.
        """
        _WRITE[type(record)](self, record)

    def _process(self, record: ProcessStarted) -> None:
        self.client.update_run(self.run_id, status="RUNNING")
        if "failure" in self.client.get_run(self.run_id).data.tags:  # of an earlier process
            self.client.delete_tag(self.run_id, "failure")
        tags = {**record.process, "heartbeat": int(record.time / 1000)}
        self.client.log_batch(self.run_id, tags=[RunTag(key, str(value)) for key, value in tags.items()])

    def _params(self, record: Params) -> None:
        params = [Param(key, value) for key, value in record.values.items()]
        for start in range(0, len(params), MOST_PARAMS):
            self.client.log_batch(self.run_id, params=params[start : start + MOST_PARAMS])

    def _metrics(self, record: Metrics) -> None:
        # With the journal's time, since MLflow recognises a metric that it has by name, step, value and time.
        self._send_metrics([Metric(key, value, record.time, record.step) for key, value in record.values.items()])

    def _send_metrics(self, metrics: list[Metric]) -> None:
        for start in range(0, len(metrics), MOST_METRICS):
            self.client.log_batch(self.run_id, metrics=metrics[start : start + MOST_METRICS])

    def _tags(self, record: Tags) -> None:
        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in record.values.items()])

    def _dataset(self, record: DatasetUsed) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow has two equal sources for a folder, and warns that it chose one
            source = resolve_dataset_source(record.source)
        digest = record.digest[:LONGEST_DIGEST]
        dataset = MetaDataset(source=source, name=record.name, digest=digest)  # type: ignore[abstract]
        context = InputTag(MLFLOW_DATASET_CONTEXT, record.split)
        self.client.log_inputs(self.run_id, [DatasetInput(dataset._to_mlflow_entity(), [context])])

    def _artifacts(self, record: Artifacts) -> None:
        self._files(record, record.place)

    def _images(self, record: Images) -> None:
        """Do what `MlflowClient.log_image` does, but with names that are the same whenever they are sent."""
        self.client.set_tag(self.run_id, MLFLOW_LOGGED_IMAGES, "True")  # without it, MLflow's UI looks for none
        self._files(record, IMAGES)

    def _files(self, record: WithFiles, place: str) -> None:
        parcel = self.journal.outbox.path(record.parcel)
        if not parcel.is_dir():  # when everything is sent again, another store may have it
            return
        try:
            self.client.log_artifacts(self.run_id, str(parcel), place)
        except Exception as error:  # of any storage's own package
            if parcel.is_dir():  # else a newer parcel replaced it in the meantime
                self._one_by_one(parcel, place, error)

    def _one_by_one(self, parcel: Path, place: str, error: Exception) -> None:
        """Send each file alone: one that is refused must not hold up the others. Those that arrive leave the parcel.

        Args:
            error: why the parcel could not be sent as a whole.

        Raises:
            FilesRefused: what could not be sent.
        """
        refused: dict[str, str] = {}
        began = time.monotonic()
        for file in sorted(path for path in parcel.rglob("*") if path.is_file()):
            folder = (PurePosixPath(place) / file.relative_to(parcel).as_posix()).parent
            name = f"{folder}/{file.name}"
            if refused and time.monotonic() - began > PATIENCE:
                refused[name] = reason_in_words(error)
                continue
            try:
                self.client.log_artifact(self.run_id, str(file), str(folder))
                file.unlink()
            except Exception as why:
                if file.is_file():  # else a newer parcel replaced this one
                    refused[name] = reason_in_words(why)
        if refused:
            raise FilesRefused(refused)

    def _model(self, record: Model) -> None:
        """Do what `mlflow.pyfunc.log_model` does with a model that lies in a folder, but only once."""
        folder = self.journal.outbox.path(record.parcel)
        if not folder.is_dir():
            return
        model = self._logged_model()
        model_id, location = model.model_id, model.artifact_location
        checked_location("model", model_id, location, self.store.uri)
        outputs = self.client.get_run(self.run_id).outputs
        if outputs is None or model_id not in {output.model_id for output in outputs.model_outputs}:
            self.client.log_outputs(self.run_id, [LoggedModelOutput(model_id, record.step)])
        description = ModelDescription.load(str(folder))
        description.run_id, description.model_id, description.artifact_path = self.run_id, model_id, location
        hidden = self.journal.folder / ".MLmodel"  # outside the parcel, all of which is uploaded
        description.save(str(hidden))
        publish(hidden, folder / "MLmodel")
        self.client.log_model_artifacts(model_id, str(folder))
        self.client.finalize_logged_model(model_id, LoggedModelStatus.READY)

    def _model_scores(self, record: ModelScores) -> None:
        """Give metrics to the run's model, too. The run has them, and recognises them by their time."""
        model_id = self._logged_model().model_id
        digest = record.digest[:LONGEST_DIGEST]
        metrics = [
            Metric(name, logged.values[name], logged.time, logged.step, model_id, record.dataset, digest)
            for logged in self.journal.of(Metrics)
            for name in record.metrics
            if logged.step == record.step and name in logged.values
        ]
        self._send_metrics(metrics)

    def _logged_model(self) -> LoggedModel:
        """The run's model in MLflow, which is created at the first attempt."""
        experiments, of_run = [self.store.experiment_id], f"source_run_id = '{self.run_id}' AND name = 'model'"
        found = self.client.search_logged_models(experiments, filter_string=of_run, max_results=1)
        if found:
            return found[0]
        params = self.client.get_run(self.run_id).data.params
        return self.client.create_logged_model(
            self.store.experiment_id, "model", source_run_id=self.run_id, params=params
        )

    def _view(self, record: View) -> None:
        self.client.set_experiment_tag(self.store.experiment_id, TAG + self.journal.folder.name, record.value)

    def _status(self, record: Status) -> None:
        self.client.set_terminated(self.run_id, record.status, record.time)

    def _unknown(self, record: Unknown) -> None:
        kind = record.original["kind"]
        raise ValueError(f"{self.journal.path}: has a record of the kind '{kind}', which this version does not know")


_WRITE: dict[type[Record], Callable[[RunWriter, Any], None]] = {
    ProcessStarted: RunWriter._process,
    Params: RunWriter._params,
    Metrics: RunWriter._metrics,
    Tags: RunWriter._tags,
    DatasetUsed: RunWriter._dataset,
    Artifacts: RunWriter._artifacts,
    Images: RunWriter._images,
    Model: RunWriter._model,
    ModelScores: RunWriter._model_scores,
    View: RunWriter._view,
    Status: RunWriter._status,
    Unknown: RunWriter._unknown,
}
