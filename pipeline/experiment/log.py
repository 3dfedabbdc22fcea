"""What a run starts from, written down before it trains: configuration, environment, data."""

import getpass
import os
import tempfile
from pathlib import Path

from omegaconf import OmegaConf

from pipeline.config.fingerprint import sources
from pipeline.config.keys import flatten
from pipeline.config.schema import Config
from pipeline.data.prepare import Dataset
from pipeline.runtime.hardware import describe
from pipeline.runtime.text import mask_credentials
from pipeline.tracking.differences import differences
from pipeline.tracking.provenance import MadeWith, read_environment, write_environment
from pipeline.tracking.tracked_run import TrackedRun


def run_name(config: Config, varying: str | None = None) -> str:
    """The name of a run in MLflow's table: the configured one, or what is told apart at a glance.

    Args:
        varying: in what a trial differs from the others of its sweep.
    """
    model = config.model
    if varying:
        return f"{config.tracking.run_name} {varying}" if config.tracking.run_name else varying
    return (
        config.tracking.run_name or f"{config.dataset.name}-{model.name}-d{model.depth}w{model.width}-seed{config.seed}"
    )


def log_inputs(
    run: TrackedRun, config: Config, dataset: Dataset, hydra_yaml: str, original: MadeWith | None
) -> list[str]:
    """Log config/, environment/, the data of each split and, last of all, the parameters.

    Of a resumed run all this was logged when it began.

    Args:
        original: what the run that this one repeats was made with.

    Returns:
        How what this process makes the run with differs from what the original, or the resumed run, was made with.
    """
    environment = run.folder / "environment"
    if any(run.journal.of("params")):
        with tempfile.TemporaryDirectory() as folder:
            now = write_environment(Path(folder), describe(), sources(), dataset.checked.contents)
        return differences(read_environment(environment), now) if environment.is_dir() else []
    now = write_environment(environment, describe(), sources(), dataset.checked.contents)
    _log_config(run, hydra_yaml)
    run.files(environment, "environment", keep=True)
    # Names that MLflow's table of runs has columns for.
    run.tag(mlflow__user=_user(), mlflow__source__name="run.py", mlflow__source__type="LOCAL")
    if now.git["revision"] is not None:
        run.tag(mlflow__source__git__commit=now.git["revision"])
    for split in dataset.splits:
        run.dataset(split, f"{config.dataset.name}-{split}", dataset.root, dataset.checked.split_digests[split])
    run.params(flatten(config))
    return differences(original, now) if original is not None else []


def _log_config(run: TrackedRun, hydra_yaml: str) -> None:
    folder = run.folder / "config"
    folder.mkdir(parents=True, exist_ok=True)
    begin = run.journal.records[0]
    texts = {
        "config.yaml": begin["config"],
        "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(begin["overrides"])),
        "hydra.yaml": mask_credentials(hydra_yaml),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    run.files(folder, "config")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())
