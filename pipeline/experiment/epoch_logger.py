"""What is logged of every epoch, and when."""

import time
from collections.abc import Sequence
from pathlib import Path

from pipeline.config.schema import Config
from pipeline.data.classes import Classes
from pipeline.data.voc import Example
from pipeline.evaluate.evaluator import OnPrediction
from pipeline.evaluate.report import fixed_choice, prediction_writer
from pipeline.experiment.image_log import ImageLog
from pipeline.experiment.trial import Trial
from pipeline.tracking.tracked_run import TrackedRun


class EpochLogger:
    """Logs metrics, predicted masks, images and checkpoints; a `pipeline.train.setup.TrainingObserver`."""

    def __init__(self, run: TrackedRun, config: Config, validation: Sequence[Example], trial: Trial) -> None:
        """Args:
        validation: the examples of the validation split, of which a few have their predicted masks logged.
        trial: asked after every epoch whether it is to end.
        """
        self._run, self._trial = run, trial
        self._epochs, self._upload = config.epochs, config.checkpoint.upload
        self._palette = Classes.of(config.dataset).palette
        self._watched = fixed_choice(validation, config.evaluate.val_predictions)
        self._images = ImageLog(run, config, "val", self._watched)

    def on_validation_begin(self, epoch: int) -> OnPrediction:
        """Write the predicted masks of the watched examples, and draw their images."""
        written = prediction_writer(self._predictions(epoch), self._palette, self._watched)
        return self._images.collecting(epoch, written)

    def on_epoch_end(self, epoch: int, metrics: dict[str, float]) -> None:
        """Log the predicted masks, the images and the metrics."""
        started = time.perf_counter()
        if self._watched:
            self._run.move_artifacts(self._predictions(epoch), f"predictions/val/{epoch}")
        self._images.log(epoch)
        self._run.log_metrics(metrics, step=epoch)
        # In a record of its own, since it says how long the others took.
        self._run.log_metrics({"time/tracking_seconds": time.perf_counter() - started}, step=epoch)

    def on_checkpoint_saved(self, epoch: int, metrics: dict[str, float], last: Path, best: Path) -> bool:
        """Log the checkpoints where they are wanted after every epoch; returns whether the trial is pruned."""
        if self._upload == "epoch":
            self._run.log_artifacts(best, "checkpoints/best")
            self._run.log_artifacts(last, "checkpoints/last")
        pruned = self._trial.should_prune(epoch, metrics["val/mean_iou"])
        return pruned and epoch < self._epochs  # pruning a trial after its last epoch would save nothing

    def _predictions(self, epoch: int) -> Path:
        return self._run.folder / "predictions" / "val" / str(epoch)
