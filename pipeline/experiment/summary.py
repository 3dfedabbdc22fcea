"""What a run came to: the metrics at its end, and a description that reads well in the MLflow UI."""

from pipeline.config.schema import Config
from pipeline.data.prepare import Dataset
from pipeline.evaluate.metrics import Scores, iou_per_class
from pipeline.runtime.console import duration
from pipeline.tracking.tracked_run import TrackedRun, metric_names
from pipeline.train.epochs import Trained


def log_scores(run: TrackedRun, config: Config, dataset: Dataset, trained: Trained, scores: dict[str, Scores]) -> None:
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
    run.metrics(metrics, step=trained.best_epoch)
    run.tag(weights_sha256=trained.best_weights_sha256, last_weights_sha256=trained.last_weights_sha256)


def describe_run(
    run: TrackedRun, config: Config, dataset: Dataset, trained: Trained, scores: dict[str, Scores], seconds: float
) -> None:
    """Set the run's description: a short summary in Markdown."""
    model, optimizer = config.model, config.optimizer
    counts = ", ".join(f"{len(examples)} {split}" for split, examples in dataset.splits.items())
    lines = [
        f"**{config.dataset.name}** ({counts} pictures) - {model.name}, depth {model.depth}, width {model.width} - "
        f"{optimizer.name} at {optimizer.learning_rate:g} - {config.epochs} epochs of crops of {config.image_size} px",
        "",
        "| split | mean IoU | pixel accuracy | loss |",
        "| --- | --- | --- | --- |",
    ]
    for split, found in scores.items():
        lines.append(f"| {split} | {found.mean_iou:.4f} | {found.pixel_accuracy:.4f} | {found.loss:.4f} |")
    lines += ["", f"Best epoch {trained.best_epoch}, {duration(seconds)} in all, run key `{run.key}`."]
    run.tag(mlflow__note__content="\n".join(lines))
