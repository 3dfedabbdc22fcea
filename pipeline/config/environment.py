"""MLflow's environment variables, which hold where the configuration's own key is null, and what holds without them."""

import os

from pipeline.config.schema import TrackingConfig

TRACKING_URI, RUN_NAME, RUN_ID = "MLFLOW_TRACKING_URI", "MLFLOW_RUN_NAME", "MLFLOW_RUN_ID"
EXPERIMENT_NAME, EXPERIMENT_ID = "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID"
DEFAULT_EXPERIMENT = "segmentation"


def variable(name: str) -> str | None:
    """The value of an environment variable; None if it is unset or empty."""
    return os.environ.get(name) or None


def experiment_name(tracking: TrackingConfig) -> str:
    """The experiment: the configured one, that of MLFLOW_EXPERIMENT_NAME, or the default.

    MLFLOW_EXPERIMENT_ID was replaced by its experiment's name before (`pipeline.tracking.store.name_experiment`).
    """
    return tracking.experiment or variable(EXPERIMENT_NAME) or DEFAULT_EXPERIMENT


def null_values() -> dict[str, str | None]:
    """{key of tracking: what holds where it is null, as far as the environment of this process says}."""
    return {
        "uri": variable(TRACKING_URI),
        "experiment": experiment_name(TrackingConfig()),
        "run_name": variable(RUN_NAME),
    }


def fill(tracking: TrackingConfig) -> None:
    """Replace each null by what holds instead, so that other processes, resumed runs and reruns see it, too."""
    for key, value in null_values().items():
        if getattr(tracking, key) is None:
            setattr(tracking, key, value)
