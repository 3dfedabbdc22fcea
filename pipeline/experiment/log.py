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
from pipeline.evaluate.metrics import Scores, iou_per_class
from pipeline.runtime.console import duration
from pipeline.runtime.hardware import describe
from pipeline.runtime.text import mask_credentials
from pipeline.tracking.differences import differences
from pipeline.tracking.provenance import Provenance, read_environment, write_environment
from pipeline.tracking.tracked_run import TrackedRun, metric_names
from pipeline.train.setup import TrainingResult


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
    run: TrackedRun, config: Config, dataset: Dataset, hydra_yaml: str, original: Provenance | None
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
    run.log_artifacts(environment, "environment")
    # Names that MLflow's table of runs has columns for.
    run.set_tags({"mlflow.user": _user(), "mlflow.source.name": "run.py", "mlflow.source.type": "LOCAL"})
    if now.git["revision"] is not None:
        run.set_tags({"mlflow.source.git.commit": now.git["revision"]})
    for split in dataset.splits:
        run.log_dataset(split, f"{config.dataset.name}-{split}", dataset.root, dataset.checked.split_digests[split])
    run.log_params(flatten(config))
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
    run.move_artifacts(folder, "config")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())


def log_scores(
    run: TrackedRun, config: Config, dataset: Dataset, trained: TrainingResult, scores: dict[str, Scores]
) -> None:
    """Log `best/*` and `test/*`, at the best epoch as step, and the hashes of the weights."""
    metrics = {"best/val_mean_iou": trained.best_scores.mean_iou, "best/epoch": float(trained.best_epoch)}
    if "test" in scores:
        test = scores["test"]
        metrics |= {
            "test/loss": test.loss,
            "test/mean_iou": test.mean_iou,
            "test/pixel_accuracy": test.pixel_accuracy,
        }
        names = metric_names("test/iou", dataset.classes)
        metrics |= dict(zip(names, iou_per_class(test.confusion_matrix).tolist(), strict=True))
    run.log_metrics(metrics, step=trained.best_epoch)
    run.set_tags({"weights_sha256": trained.best_weights_sha256, "last_weights_sha256": trained.last_weights_sha256})


def describe_run(
    run: TrackedRun,
    config: Config,
    dataset: Dataset,
    trained: TrainingResult,
    scores: dict[str, Scores],
    seconds: float,
) -> None:
    """Set the run's description: a short summary in Markdown."""
    model, optimizer = config.model, config.optimizer
    counts = ", ".join(f"{len(examples)} {split}" for split, examples in dataset.splits.items())
    lines = [
        f"**{config.dataset.name}** ({counts} images) - {model.name}, depth {model.depth}, width {model.width} - "
        f"{optimizer.name} at {optimizer.learning_rate:g} - {config.epochs} epochs of crops of {config.image_size} px",
        "",
        "| split | mean IoU | pixel accuracy | loss |",
        "| --- | --- | --- | --- |",
    ]
    for split, found in scores.items():
        lines.append(f"| {split} | {found.mean_iou:.4f} | {found.pixel_accuracy:.4f} | {found.loss:.4f} |")
    lines += ["", f"Best epoch {trained.best_epoch}, {duration(seconds)} in all, run key `{run.key}`."]
    run.set_tags({"mlflow.note.content": "\n".join(lines)})
