"""What happens around Keras's training steps: every step is counted and checked, every epoch is closed."""

import math
import time
from dataclasses import replace

import keras
import numpy as np

from pipeline.evaluate.metrics import Scores
from pipeline.model.weights import Arrays, named_weights, weights_sha256
from pipeline.runtime import signals
from pipeline.runtime.errors import RunFailed, UserError
from pipeline.runtime.text import one_of
from pipeline.train.checkpoint import ResumePoint, best_folder, read_best, step_folder
from pipeline.train.checkpoint_state import Best, TrainingState
from pipeline.train.checkpoint_writer import CheckpointWriter, prune_checkpoints
from pipeline.train.collapse import collapse_warning
from pipeline.train.ending import EndedBy, early_end, ended_by
from pipeline.train.optimizers import averaged_weights, steps_counted
from pipeline.train.progress import TrainingDisplay
from pipeline.train.setup import TrainingResult, TrainingSetup
from pipeline.train.state import restore, restore_running, training_arrays
from pipeline.train.throughput import Throughput


class EpochCallback(keras.callbacks.Callback):
    """Counts and checks every training step, and closes every epoch: validation, checkpoints, metrics.

    `state` is where training stands, and `last_weights` are those of the last closed epoch, without moving average.
    """

    def __init__(self, setup: TrainingSetup, display: TrainingDisplay) -> None:
        super().__init__()
        self.setup, self.display = setup, display
        self.state = TrainingState(
            step=0, epoch=0, steps_per_epoch=setup.steps_per_epoch, seconds=0.0, collapse_reported=False, best=None
        )
        self.last_weights: Arrays = {}
        self._best: tuple[Scores, Arrays] | None = None
        self._stopped = False  # by the observer
        self._closed_any = False  # epoch in this process
        self._start: ResumePoint | None = None
        self._throughput = Throughput(setup.config.batch_size)
        self._earlier_seconds = 0.0  # of training in earlier processes
        self._process_started = self._epoch_started = time.perf_counter()

    def restore(self, start: ResumePoint) -> None:
        """Restore the state of a checkpoint: of the model, its optimizer and this object.

        Raises:
            UserError: it is another network's, or its epochs have another number of steps.
        """
        if start.state.steps_per_epoch != self.setup.steps_per_epoch:
            raise UserError(
                f"{start.folder}: has {start.state.steps_per_epoch} steps per epoch, but this run has "
                f"{self.setup.steps_per_epoch}"
            )
        restore(self.model, start.files, str(start.folder))
        self._start, self.state, self.last_weights = start, start.state, start.files["weights.npz"]
        self._earlier_seconds = start.state.seconds
        if start.state.best is not None:
            self._best = self._read_best(start.state.best)

    def _read_best(self, best: Best) -> tuple[Scores, Arrays]:
        folder = best_folder(self.setup.checkpoints, best.epoch)
        weights = read_best(folder)
        classes = self.model.output_shape[-1]
        if _shapes(weights) != _shapes(self.last_weights) or len(best.confusion_matrix) != classes:
            raise UserError(f"{folder}: has the weights of another network")
        return Scores(np.array(best.confusion_matrix, np.int64), best.loss), weights

    @property
    def over(self) -> bool:
        """Whether training is: all epochs are closed, or early stopping, time or the observer ended it."""
        return self._stopped or self._ended_by is not None

    @property
    def _ended_by(self) -> EndedBy | None:
        return ended_by(self.state, self.setup.config, self.setup.last_epoch)

    def result(self) -> TrainingResult:
        """What training came to; at least one epoch must be closed."""
        assert self._best is not None and self.state.best is not None
        scores, weights = self._best
        return TrainingResult(
            best_epoch=self.state.best.epoch,
            best_scores=scores,
            best_weights=weights,
            best_weights_sha256=self.state.best.weights_sha256,
            last_weights_sha256=weights_sha256(self.last_weights),
            last=step_folder(self.setup.checkpoints, self.state.step),
            best=best_folder(self.setup.checkpoints, self.state.best.epoch),
            earlier_seconds=self._earlier_seconds,
            stopped=self._stopped,
            ended_by=self._ended_by,
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """See `keras.callbacks.Callback`."""
        if self._start is not None and self.state.steps_into_epoch:  # Keras has just reset the sums of the metrics
            restore_running(self.model, self._start.files["running.npz"], str(self._start.folder))
        self._start = None
        self._epoch_started = time.perf_counter()
        self._throughput.start_epoch()

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """See `keras.callbacks.Callback`."""
        self.state = replace(self.state, step=self.state.step + 1)
        loss = logs["loss"]
        self._check_finite(loss)
        self._throughput.step()
        done = self.state.steps_into_epoch
        self.display.show_step(self.state.epoch + 1, done, loss, self._throughput.images_per_second)
        every = self.setup.config.checkpoint.every_steps
        due = every and self.state.step % every == 0 and done < self.setup.steps_per_epoch
        if due or signals.pending():
            self._save_within_epoch()
        signals.raise_pending()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """See `keras.callbacks.Callback`."""
        self.close_epoch(time.perf_counter() - self._epoch_started)
        self.model.stop_training = self.over

    def close_epoch(self, train_seconds: float) -> None:
        """Validate, write the checkpoints and report the metrics of an epoch whose steps are all taken.

        The order of the effects is what makes a run resumable that was killed between any two of them: the best
        weights and the arrays of the checkpoint are on the disk before the metrics are logged, and these before the
        checkpoint is committed. Before that instant the epoch is repeated, with the same bits, and what was logged
        already is not logged again; after it the epoch is closed.

        Args:
            train_seconds: how long this process trained in the epoch.
        """
        began, epoch = time.perf_counter(), self.state.epoch + 1
        arrays = training_arrays(self.model)
        self.last_weights = arrays["weights.npz"]
        train_loss = float(self.model.metrics[0].result())
        scores, evaluated = self._validate(epoch)
        validated = time.perf_counter()
        is_best = self._save_if_best(epoch, scores, evaluated)
        checkpoint = CheckpointWriter(step_folder(self.setup.checkpoints, self.state.step), arrays)
        metrics = {
            "train/loss": train_loss,
            # 0 where it is not known, so that a run that was interrupted has its metrics at the same steps.
            "train/images_per_second": self._throughput.images_per_second,
            "val/loss": scores.loss,
            "val/mean_iou": scores.mean_iou,
            "val/pixel_accuracy": scores.pixel_accuracy,
            # In float16 all steps may have been skipped so far, for infinite gradients.
            "learning_rate": float(self.setup.network.schedule(max(0, steps_counted(self.model.optimizer) - 1))),
            "time/train_seconds": train_seconds,
            "time/validation_seconds": validated - began,
            "time/checkpoint_seconds": time.perf_counter() - validated,
        }
        self.setup.observer.on_epoch_end(epoch, metrics)
        seconds = self._epoch_seconds(train_seconds, began)
        self.state = replace(self.state, epoch=epoch, epoch_seconds=seconds, seconds=self._seconds())
        self._warn_of_collapse(scores)
        self._commit(checkpoint)
        # Only now, when nothing of it can be lost any more, is the epoch shown and uploaded.
        assert self.state.best is not None  # the first epoch is always the best so far
        self.display.print_epoch(epoch, metrics, is_best, self.state.best.mean_iou, self.state.epoch_seconds)
        best = best_folder(self.setup.checkpoints, self.state.best.epoch)
        self._stopped = self.setup.observer.on_checkpoint_saved(epoch, metrics, checkpoint.folder, best)
        if not self._stopped and (why := early_end(self.state, self.setup.config, self.setup.last_epoch)):
            self.display.print(why)
        signals.raise_pending()

    def _epoch_seconds(self, train_seconds: float, closing_began: float) -> float:
        """What another epoch will take: its steps at this epoch's pace, and as long to close it."""
        rate = self._throughput.images_per_second
        images = self.setup.steps_per_epoch * self.setup.config.batch_size
        earlier = self.state.epoch_seconds
        # Of a first epoch whose steps an earlier process took, only the time of that process is known.
        steps = images / rate if rate else max(train_seconds, earlier or self.state.seconds)
        found = steps + time.perf_counter() - closing_began
        compiled, self._closed_any = (
            not self._closed_any,
            True,
        )  # scoring was, and is so in the first epoch of a process
        return min(found, earlier) if compiled and earlier else found

    def _validate(self, epoch: int) -> tuple[Scores, Arrays]:
        """Scores of the validation split, and the weights that it was scored with."""
        try:
            with averaged_weights(self.model):
                scores = self.setup.validate(self.setup.observer.on_validation_begin(epoch), self._on_images_scored)
                averaged = self.setup.config.optimizer.ema is not None
                return scores, named_weights(self.model) if averaged else self.last_weights
        except signals.Interrupted:
            self._save_within_epoch()
            raise

    def _on_images_scored(self, done: int, total: int) -> None:
        signals.raise_pending()
        self.display.show_validation(done, total)

    def _save_if_best(self, epoch: int, scores: Scores, weights: Arrays) -> bool:
        """Write the weights of the best epoch so far, if this is it; returns whether it is."""
        if self.state.best is not None and not is_better(scores.mean_iou, self.state.best.mean_iou):
            return False
        sha256 = weights_sha256(weights)
        # The images' own scores are not in the checkpoint, so a run has none at its end, interrupted or not.
        self._best = replace(scores, images={}), weights
        best = Best(epoch, scores.mean_iou, scores.loss, scores.confusion_matrix.tolist(), sha256)
        self.state = replace(self.state, best=best)
        checkpoint = CheckpointWriter(best_folder(self.setup.checkpoints, epoch), {"weights.npz": weights})
        checkpoint.commit({"epoch": epoch, "val_mean_iou": scores.mean_iou, "weights_sha256": sha256})
        return True

    def _warn_of_collapse(self, scores: Scores) -> None:
        """Args: scores: of the epoch that is closed now."""
        last, config = self._ended_by is not None, self.setup.config
        warning = collapse_warning(scores, self.state.epoch, last, self.state.collapse_reported, config)
        if warning is not None and not config.overfit:  # which has a verdict of its own
            self.display.print(warning)
        reported = warning is not None or self.state.collapse_reported
        self.state = replace(self.state, collapse_reported=reported and scores.collapsed)

    def _save_within_epoch(self) -> None:
        """Write a checkpoint of an epoch that is not closed."""
        self._commit(
            CheckpointWriter(step_folder(self.setup.checkpoints, self.state.step), training_arrays(self.model))
        )

    def _commit(self, checkpoint: CheckpointWriter) -> None:
        """Commit a checkpoint with the state of this instant, and remove the ones that it makes superfluous."""
        self.state = replace(self.state, seconds=self._seconds())
        checkpoint.commit(self.state.to_json())
        prune_checkpoints(checkpoint.folder, self.setup.config.checkpoint.keep)

    def _seconds(self) -> float:
        """How long the run has trained, in all processes."""
        return self._earlier_seconds + time.perf_counter() - self._process_started

    def _check_finite(self, loss: float) -> None:
        """Args: loss: mean over the epoch so far. Once it is not finite, it stays so."""
        if math.isfinite(loss):
            return
        config = self.setup.config
        ways = ["a lower learning rate"]
        ways += ["optimizer.clip_norm=1"] if config.optimizer.clip_norm is None else []
        ways += ["schedule.warmup_epochs=1"] if config.schedule.warmup_epochs < 1 < config.epochs else []
        ways += ["precision=float32"] if config.precision != "float32" else []
        raise RunFailed(
            f"the loss became {loss} in epoch {self.state.epoch + 1}, step {self.state.steps_into_epoch} of "
            f"{self.setup.steps_per_epoch} (optimizer.learning_rate={config.optimizer.learning_rate}, "
            f"precision={config.precision}): {one_of(ways)} may help"
        )


def is_better(mean_iou: float, best: float) -> bool:
    """Whether a validation mean IoU beats the best so far. NaN, the score of no valid pixel, beats nothing."""
    return mean_iou > best or (math.isnan(best) and not math.isnan(mean_iou))


def _shapes(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}
