"""Metrics that a command logs to a run which has ended."""

import time
from collections.abc import Mapping

from mlflow.entities import Metric

from pipeline.tracking.search import open_client
from pipeline.tracking.store import answering


def log_later(run_id: str, uri: str | None, values: Mapping[str, float]) -> None:
    """Log metrics at the step of the run's best epoch, whose weights they are about.

    Args:
        uri: MLflow's address; None for the default.

    Raises:
        UserError: the store does not answer, or refuses them.
    """
    client = open_client(uri)
    with answering(client.tracking_uri):
        best = client.get_run(run_id).data.metrics.get("best/epoch", 0)
        step = int(best) if 0 <= best < 2**63 else 0  # a store may have anything there, NaN included
        now = int(time.time() * 1000)
        client.log_batch(run_id, metrics=[Metric(name, value, now, step) for name, value in values.items()])
