"""Sending a journal, and everything that MLflow then has of its run."""

from pathlib import Path
from typing import Any

import mlflow

from pipeline.config.schema import TrackingConfig
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Metrics

MLMODEL = """
flavors:
  python_function:
    loader_module: mlflow.pyfunc.model
    python_version: 3.11.0
model_uuid: 0123456789abcdef0123456789abcdef
utc_time_created: '2026-01-01 00:00:00.000000'
"""
KEYS = iter(range(10**6))


def write_folder(place: Path, name: str, **more: str) -> Path:
    """A folder with one file in a folder of its own, and `more` files next to that."""
    (place / "deep").mkdir(parents=True, exist_ok=True)
    (place / "deep" / name).write_text(name)
    for other, text in more.items():
        (place / other).write_text(text)
    return place


def send(journal: Journal, tracking: TrackingConfig) -> Delivery:
    delivery = Delivery(journal, tracking)
    delivery.send_all()
    return delivery


def send_some(delivery: Delivery, number: int) -> None:
    for _ in range(number):
        delivery.send_next()


def in_mlflow(tracking: TrackingConfig, key: str) -> dict[str, Any]:
    """Everything that MLflow has of the one run with this key."""
    client = mlflow.MlflowClient(tracking.uri)
    experiment = client.get_experiment_by_name(tracking.experiment).experiment_id
    (run,) = client.search_runs([experiment], f"tags.run_key = '{key}'")
    run = client.get_run(run.info.run_id)
    models = client.search_logged_models([experiment], filter_string=f"source_run_id = '{run.info.run_id}'")
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    return {
        "status": (run.info.status, run.info.start_time, run.info.end_time, run.info.run_name),
        "params": run.data.params,
        "tags": {name: text for name, text in run.data.tags.items() if name != "heartbeat"},
        "metrics": {
            name: [(m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, name)]
            for name in run.data.metrics
        },
        "data": sorted(
            (item.dataset.name, item.dataset.digest, item.dataset.source, *((t.key, t.value) for t in item.tags))
            for item in run.inputs.dataset_inputs
        ),
        "artifacts": {path.relative_to(artifacts).as_posix(): path.read_text() for path in files(artifacts)},
        "models": [(model.name, model.status, model.params, files_of(model.artifact_location)) for model in models],
        "scores": [
            (m.key, m.step, m.value, m.dataset_name, m.dataset_digest) for model in models for m in model.metrics
        ],
        "outputs": [output.step for output in run.outputs.model_outputs] if run.outputs else [],
    }


def files(place: Path) -> list[Path]:
    return [path for path in sorted(place.rglob("*")) if path.is_file()]


def files_of(location: str) -> list[str]:
    place = Path(location.removeprefix("file://"))
    return [path.relative_to(place).as_posix() for path in files(place)]


def time_of(journal: Journal, number: int) -> int:
    """When the metrics with this number were logged."""
    return journal.of(Metrics)[number].time
