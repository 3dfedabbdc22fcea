"""What is logged of a run, and when: its inputs, its network, its results. `epoch_logger` logs the epochs."""

import getpass
import os
import tempfile
import time
from pathlib import Path

import keras
import numpy as np
from omegaconf import OmegaConf

from pipeline.config.addresses import recorded_uri
from pipeline.config.fingerprint import sources
from pipeline.config.keys import flatten
from pipeline.config.schema import Config, TrackingConfig
from pipeline.data.decode import decode_example
from pipeline.data.prepare import Dataset
from pipeline.evaluate.metrics import Scores, iou_per_class
from pipeline.evaluate.report import absent_class_notes
from pipeline.experiment.initial_weights import log_initial_weights
from pipeline.experiment.messages import print_note
from pipeline.experiment.rerun import Original, Verdict, changed_keys, compare
from pipeline.experiment.trial import Result
from pipeline.model.build import InitialWeights
from pipeline.runtime.console import duration
from pipeline.runtime.hardware import describe
from pipeline.runtime.text import mask_credentials, plain
from pipeline.tracking.dead_runs import how_to_continue, mark_dead_runs
from pipeline.tracking.memory_deaths import suspicion
from pipeline.tracking.provenance import differences, read_provenance, write_provenance
from pipeline.tracking.pyfunc import save_model
from pipeline.tracking.records import Params
from pipeline.tracking.store import Store, open_if_it_answers
from pipeline.tracking.tracked_run import TrackedRun, metric_names
from pipeline.train.ending import ENDED_BY
from pipeline.train.setup import TrainingResult


def open_tracking(tracking: TrackingConfig) -> Store | None:
    """Open the store, and mark as KILLED the runs whose process died silently; None while it does not answer.

    Raises:
        UserError: the address is wrong.
    """
    store = open_if_it_answers(tracking)
    for name in mark_dead_runs(tracking, store):
        why, then = suspicion(name), how_to_continue(name)
        print_note(f"run {name} was left RUNNING by a process that died{why}: it is KILLED now; {then}")
    return store


def run_name(config: Config, varying: str | None = None) -> str:
    """The name of a run in MLflow's table: the configured one, or one made of dataset, network and seed.

    Args:
        varying: of a trial, the parameters that distinguish it from the others of its sweep.
    """
    model = config.model
    if varying:
        return f"{config.tracking.run_name} {varying}" if config.tracking.run_name else varying
    return (
        config.tracking.run_name or f"{config.dataset.name}-{model.name}-d{model.depth}w{model.width}-seed{config.seed}"
    )


def log_inputs(
    run: TrackedRun,
    config: Config,
    dataset: Dataset,
    hydra_yaml: str,
    original: Original | None,
    initial_sha256: str | None,
) -> list[str]:
    """Log config/, environment/, the data of each split and, last of all, the parameters.

    Of a resumed run all this is logged already.

    Args:
        original: the run that this one repeats.
        initial_sha256: of the weights that this one starts from.

    Returns:
        How this process makes the run differently from how the original, or the resumed run, was made.
    """
    environment = run.folder / "environment"
    if run.journal.of(Params):
        with tempfile.TemporaryDirectory() as folder:
            now = write_provenance(Path(folder), describe(), sources(), dataset.checked.contents)
        return differences(read_provenance(environment), now) if environment.is_dir() else []
    now = write_provenance(environment, describe(), sources(), dataset.checked.contents)
    _log_config(run, hydra_yaml)
    run.log_artifacts(environment, "environment")
    # Names that MLflow's table of runs has columns for.
    run.set_tags({"mlflow.user": _user(), "mlflow.source.name": "run.py", "mlflow.source.type": "LOCAL"})
    if now.git["revision"] is not None:
        run.set_tags({"mlflow.source.git.commit": now.git["revision"]})
    for split in dataset.splits:
        run.log_dataset(split, f"{config.dataset.name}-{split}", dataset.root, dataset.checked.split_digests[split])
    # As in the journal, so that a resumed run logs the same.
    run.log_params({**flatten(config), "tracking.uri": recorded_uri(config.tracking.uri)})
    if original is None:
        return []
    found = changed_keys(original.config, config) + differences(original.provenance, now)
    if original.initial_sha256 != initial_sha256:
        found.insert(0, f"initial weights: {plain(str(original.initial_sha256))} -> {initial_sha256}")
    return found


def log_network(run: TrackedRun, config: Config, network: keras.Model, initial: InitialWeights | None) -> None:
    """Log the number of parameters, and the initial weights where they may not be available later."""
    if initial is not None:
        log_initial_weights(run, config, initial)
    run.log_metrics({"model/parameters": network.count_params()}, step=0)


def log_pruned(run: TrackedRun) -> Result:
    """Mark a trial that its sweep ended early; returns its result."""
    run.set_tags({"pruned": "true"})
    return Result.of(run, max(run.journal.history()["val/mean_iou"].values()), pruned=True)


def log_weights(run: TrackedRun, config: Config, dataset: Dataset, trained: TrainingResult) -> None:
    """Log the best weights as a model that loads with `mlflow.pyfunc`, and the checkpoints.

    They are many files; logged first, they are sent while the test split is scored.
    """
    # A corner of an image: MLflow writes the input example out as text, twice.
    corner = decode_example(dataset.splits["val"][0])[:64, :64]  # (height, width, 3) uint8
    stored_config, weights = run.journal.begin.config, trained.best / "weights.npz"
    save_model(run.folder / "model", stored_config, weights, trained.best_weights_sha256, corner[np.newaxis])
    run.move_model(run.folder / "model", trained.best_epoch)
    run.log_artifacts(trained.best, "checkpoints/best")
    if config.checkpoint.upload != "best":
        run.log_artifacts(trained.last, "checkpoints/last")


def log_results(
    run: TrackedRun,
    config: Config,
    dataset: Dataset,
    trained: TrainingResult,
    scores: dict[str, Scores],
    started: float,
) -> float:
    """Log the scores, the hashes of the weights, the duration and a description.

    Args:
        scores: by split.
        started: `time.perf_counter()` when this process began with the run.

    Returns:
        The seconds that the run took, in all processes that took part.
    """
    _log_scores(run, dataset, trained, scores)
    if trained.ended_by not in (None, "epochs"):
        run.set_tags({ENDED_BY: str(trained.ended_by)})
    _log_model_scores(run, config, dataset, trained.best_epoch)
    seconds = trained.earlier_seconds + time.perf_counter() - started
    run.log_metrics({"time/total_seconds": seconds}, step=trained.best_epoch)
    description = _description(run.key, config, dataset, trained, scores, seconds)
    run.set_tags({"mlflow.note.content": description})
    return seconds


def log_verdict(
    run: TrackedRun, original: Original | None, trained: TrainingResult, differences: list[str]
) -> Verdict | None:
    """Compare a run with the one that it repeats, if it repeats one, and log the verdict.

    Args:
        differences: between how the two were made.
    """
    if original is None:
        return None
    verdict = compare(original, run.journal.history(), trained.best_weights_sha256, differences)
    run.set_tags({"rerun_verdict": verdict.text})
    return verdict


def _log_config(run: TrackedRun, hydra_yaml: str) -> None:
    folder = run.folder / "config"
    folder.mkdir(parents=True, exist_ok=True)
    begin = run.journal.begin
    texts = {
        "config.yaml": begin.config,
        "overrides.yaml": OmegaConf.to_yaml(OmegaConf.create(begin.overrides)),
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


def _log_scores(run: TrackedRun, dataset: Dataset, trained: TrainingResult, scores: dict[str, Scores]) -> None:
    """Log `best/*` and `test/*`, at the best epoch as step, and the hashes of the weights."""
    metrics = {"best/val_mean_iou": trained.best_scores.mean_iou, "best/epoch": float(trained.best_epoch)}
    if "test" in scores:
        test = scores["test"]
        metrics |= {
            "test/loss": test.loss,
            "test/mean_iou": test.mean_iou,
            **dict(zip(("test/mean_iou_low", "test/mean_iou_high"), test.mean_iou_interval, strict=True)),
            "test/pixel_accuracy": test.pixel_accuracy,
            "test/mean_dice": test.mean_dice,
            "test/mean_precision": test.mean_precision,
            "test/mean_recall": test.mean_recall,
            "test/frequency_weighted_iou": test.frequency_weighted_iou,
            "test/boundary_iou": test.boundary_iou,
        }
        names = metric_names("test/iou", dataset.classes)
        metrics |= dict(zip(names, iou_per_class(test.confusion_matrix).tolist(), strict=True))
    run.log_metrics(metrics, step=trained.best_epoch)
    run.set_tags({"weights_sha256": trained.best_weights_sha256, "last_weights_sha256": trained.last_weights_sha256})


def _log_model_scores(run: TrackedRun, config: Config, dataset: Dataset, epoch: int) -> None:
    """Say which of the logged metrics are the model's, and on which data: those of its epoch, and of the test split."""
    logged = [name for name, values in run.journal.history().items() if epoch in values]
    for split in ("val", "test"):
        metrics = [name for name in logged if name.startswith((f"{split}/", f"best/{split}_"))]
        if metrics:
            name, digest = f"{config.dataset.name}-{split}", dataset.checked.split_digests[split]
            run.log_model_scores(epoch, name, digest, metrics)


def _description(
    run_key: str,
    config: Config,
    dataset: Dataset,
    trained: TrainingResult,
    scores: dict[str, Scores],
    seconds: float,
) -> str:
    """A short summary in Markdown."""
    model, optimizer = config.model, config.optimizer
    counts = ", ".join(f"{len(examples)} {split}" for split, examples in dataset.splits.items())
    length = f"{config.epochs} epochs" if config.steps is None else f"{config.steps} steps"
    lines = [
        f"**{config.dataset.name}** ({counts} images) - {model.name}, depth {model.depth}, width {model.width} - "
        f"{optimizer.name} at {optimizer.learning_rate:g} - {length} of crops of {config.image_size} px",
        "",
        "| split | mean IoU | pixel accuracy | loss |",
        "| --- | --- | --- | --- |",
    ]
    for split, found in scores.items():
        lines.append(f"| {split} | {found.mean_iou:.4f} | {found.pixel_accuracy:.4f} | {found.loss:.4f} |")
    for note in absent_class_notes(dataset.classes, scores):
        lines += ["", f"{note[0].upper()}{note[1:]}."]
    lines += ["", f"Best epoch {trained.best_epoch}, {duration(seconds)} in all, run key `{run_key}`."]
    return "\n".join(lines)
