"""What a run starts from, written down before it trains: configuration, environment, data."""

import getpass
import os
from pathlib import Path

from omegaconf import OmegaConf

from pipeline.config import Config, flatten
from pipeline.data.prepare import Dataset
from pipeline.hardware import describe
from pipeline.tracking.environment import write_environment
from pipeline.tracking.record import TrackedRun
from pipeline.tracking.store import mask_credentials


def run_name(config: Config) -> str:
    """The name of a run in MLflow's table: the configured one, or what is told apart at a glance."""
    model = config.model
    return (
        config.tracking.run_name or f"{config.dataset.name}-{model.name}-d{model.depth}w{model.width}-seed{config.seed}"
    )


def log_inputs(run: TrackedRun, config: Config, dataset: Dataset, overrides: list[str], hydra_yaml: str) -> Path:
    """Log parameters, config/, environment/ and the data of each split; returns the local config.yaml."""
    run.params(flatten(config))
    folder = run.folder / "config"
    folder.mkdir(parents=True, exist_ok=True)
    texts = {
        "config.yaml": OmegaConf.to_yaml(OmegaConf.structured(config)),
        "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(overrides)),
        "hydra.yaml": hydra_yaml,
    }
    for name, text in texts.items():
        (folder / name).write_text(mask_credentials(text), encoding="utf-8")
    run.files(folder, "config")
    revision = write_environment(run.folder / "environment", describe())
    run.files(run.folder / "environment", "environment")
    # Names that MLflow's table of runs has columns for.
    run.tag(mlflow__user=_user(), mlflow__source__name="run.py", mlflow__source__type="LOCAL")
    if revision is not None:
        run.tag(mlflow__source__git__commit=revision)
    for split in dataset.splits:
        run.dataset(split, f"{config.dataset.name}-{split}", dataset.root, dataset.checked.split_digests[split])
    return folder / "config.yaml"


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())
