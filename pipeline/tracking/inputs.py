"""What a run starts from, written down before it trains: configuration, environment, data."""

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
        (folder / name).write_text(mask_credentials(text))
    run.files(folder, "config")
    write_environment(run.folder / "environment", describe())
    run.files(run.folder / "environment", "environment")
    for split in dataset.splits:
        run.dataset(split, f"{config.dataset.name}-{split}", dataset.root, dataset.checked.split_digests[split])
    return folder / "config.yaml"
