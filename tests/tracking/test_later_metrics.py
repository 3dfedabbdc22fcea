"""Metrics that are logged after a run has ended, whatever the store says of its best epoch."""

import math
from pathlib import Path

import mlflow
import pytest

from pipeline.tracking.later_metrics import log_later


@pytest.mark.parametrize(
    ("best", "step"), [(3.0, 3), (None, 0), (math.nan, 0), (math.inf, 0), (-math.inf, 0), (1e300, 0), (-2.0, 0)]
)
def test_the_step_is_the_best_epoch_if_that_is_one(tmp_path: Path, best: float | None, step: int) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    client = mlflow.MlflowClient(uri)
    run_id = client.create_run("0").info.run_id
    if best is not None:
        client.log_metric(run_id, "best/epoch", best)
    log_later(run_id, uri, {"test/onnx_mean_iou": 0.5})
    (logged,) = client.get_metric_history(run_id, "test/onnx_mean_iou")
    assert (logged.value, logged.step) == (0.5, step)
