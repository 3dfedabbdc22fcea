"""What happens around Keras's steps: every step is watched, and every epoch closed with scores and a checkpoint."""

import contextlib
import math
import time
from collections.abc import Iterator
from dataclasses import replace

import keras
import numpy as np

from pipeline.evaluate.metrics import Scores
from pipeline.model.weights import Arrays, named_weights, weights_sha256
from pipeline.runtime import signals
from pipeline.runtime.errors import RunFailed, UserError
from pipeline.train.checkpoint import (
    Best,
    Start,
    TrainingState,
    Unfinished,
    as_json,
    best_folder,
    prune,
    read_best,
    step_folder,
)
from pipeline.train.optimizers import WarmupSchedule
from pipeline.train.progress import TrainingDisplay
from pipeline.train.setup import TrainingResult, TrainingSetup
from pipeline.train.state import restore, restore_running, training_arrays


class Epochs(keras.callbacks.Callback):
    """Watches every step, and closes every epoch: validate, keep the best, tell, write a checkpoint."""

    def __init__(self, setup: TrainingSetup, schedule: WarmupSchedule, display: TrainingDisplay) -> None:
        super().__init__()
        self.setup, self.schedule, self.display = setup, schedule, display
        self.state = TrainingState(0, 0, setup.steps_per_epoch, 0.0, False, None)
        self.stopped = False  # by the observer
        self.last_weights: Arrays = {}
        self._best: tuple[Scores, Arrays] | None = None
        self._restored: tuple[Arrays, str] | None = None
        self._speed = Speed(setup.config.batch_size)
        self._earlier_seconds = 0.0
        self._since = time.perf_counter()

    def go_on(self, start: Start) -> None:
        """Stand where a checkpoint stands.

        Raises:
            UserError: it is another network's, or was written with other data.
        """
        if start.state.steps_per_epoch != self.setup.steps_per_epoch:
            raise UserError(
                f"{start.folder}: was written in epochs of {start.state.steps_per_epoch} steps, but this run has "
                f"{self.setup.steps_per_epoch}"
            )
        restore(self.model, start.files, str(start.folder))
        self.state = start.state
        self._earlier_seconds = start.state.seconds
        self.last_weights = start.files["weights.npz"]
        if (best := start.state.best) is not None:
            weights = read_best(best_folder(self.setup.checkpoints, best.epoch))
            if (
                _shapes(weights) != _shapes(self.last_weights)
                or len(best.confusion_matrix) != self.setup.validate.classes
            ):
                raise UserError(
                    f"{best_folder(self.setup.checkpoints, best.epoch)}: has the weights of another network"
                )
            self._best = Scores(np.array(best.confusion_matrix, np.int64), best.loss), weights
        self._restored = start.files["running.npz"], str(start.folder)
        if self.state.step == (self.state.epoch + 1) * self.setup.steps_per_epoch:
            self._close_epoch(0.0)  # its steps were all taken, and it was interrupted before it was validated

    @property
    def over(self) -> bool:
        """Whether the last epoch is closed, or training was stopped before it."""
        return self.stopped or self.state.is_over(self.setup.config)

    def trained(self) -> TrainingResult:
        """The result."""
        assert self._best is not None and self.state.best is not None  # at least one epoch was run
        return TrainingResult(
            self.state.best.epoch,
            *self._best,
            self.state.best.weights_sha256,
            weights_sha256(self.last_weights),
            step_folder(self.setup.checkpoints, self.state.step),
            best_folder(self.setup.checkpoints, self.state.best.epoch),
            self._earlier_seconds,
            self.stopped,
        )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self._restored is not None and self.state.step % self.setup.steps_per_epoch:
            restore_running(self.model, *self._restored)
        self._restored = None
        self._started = time.perf_counter()
        self._speed.start_epoch()

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        self.state = replace(self.state, step=self.state.step + 1)
        done = self.state.step - self.state.epoch * self.setup.steps_per_epoch
        config, loss = self.setup.config, logs["loss"]  # mean over the epoch so far: once it is not finite, it stays so
        if not math.isfinite(loss):
            raise RunFailed(
                f"the loss became {loss} in epoch {self.state.epoch + 1}, step {done} of {self.setup.steps_per_epoch} "
                f"(optimizer.learning_rate={config.optimizer.learning_rate}, precision={config.precision}): "
                "a lower learning rate, optimizer.clip_norm=1, schedule.warmup_epochs=1 or precision=float32 may help"
            )
        self._speed.step()
        self.display.step(self.state.epoch + 1, done, loss, self._speed.images_per_second)
        every = config.checkpoint.every_steps
        if signals.pending() or (every and self.state.step % every == 0 and done < self.setup.steps_per_epoch):
            self._save_within_epoch()
        signals.raise_pending()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self._close_epoch(time.perf_counter() - self._started)
        self.model.stop_training = self.over

    def _close_epoch(self, train_seconds: float) -> None:
        """Args: train_seconds: how long this process trained in the epoch."""
        speed, epoch = self._speed.images_per_second, self.state.epoch + 1
        trained_at = time.perf_counter()
        files = training_arrays(self.model)
        train_loss = float(self.model.metrics[0].result())
        self.last_weights = files["weights.npz"]
        try:
            with averaged_weights(self.model):
                scores = self.setup.validate(self.setup.observer.on_validation_begin(epoch), self._validating)
                evaluated = named_weights(self.model) if self.setup.config.optimizer.ema else self.last_weights
        except signals.Interrupted:
            self._save_within_epoch()
            raise
        validated_at = time.perf_counter()
        is_best = self.state.best is None or scores.mean_iou > self.state.best.mean_iou
        if is_best:
            best = Best(
                epoch, scores.mean_iou, scores.loss, scores.confusion_matrix.tolist(), weights_sha256(evaluated)
            )
            self._best, self.state = (scores, evaluated), replace(self.state, best=best)
            weights = Unfinished(best_folder(self.setup.checkpoints, epoch), {"weights.npz": evaluated})
            weights.commit({"epoch": epoch, "val_mean_iou": scores.mean_iou, "weights_sha256": best.weights_sha256})
        checkpoint = Unfinished(step_folder(self.setup.checkpoints, self.state.step), files)
        metrics = {
            "train/loss": train_loss,
            "train/images_per_second": speed,
            "val/loss": scores.loss,
            "val/mean_iou": scores.mean_iou,
            "val/pixel_accuracy": scores.pixel_accuracy,
            "learning_rate": float(self.schedule(self._steps_taken() - 1)),
            "time/train_seconds": train_seconds,
            "time/validation_seconds": validated_at - trained_at,
            "time/checkpoint_seconds": time.perf_counter() - validated_at,
        }
        # Told before the checkpoint is complete: killed in between, the epoch is repeated and nothing told twice.
        self.setup.observer.on_epoch_end(epoch, metrics)
        self._warn_of_collapse(epoch, scores)
        self.state = replace(self.state, epoch=epoch, seconds=self._seconds())
        checkpoint.commit(as_json(self.state))
        prune(checkpoint.folder, self.setup.config.checkpoint.keep)
        # Shown when it is safe: what a person saw of a run that is killed is not lost.
        assert self.state.best is not None  # the first epoch is always the best so far
        self.display.epoch(epoch, metrics, is_best, self.state.best.mean_iou)
        best_weights = best_folder(self.setup.checkpoints, self.state.best.epoch)
        self.stopped = self.setup.observer.on_checkpoint_saved(epoch, metrics, checkpoint.folder, best_weights)
        if self.state.is_over(self.setup.config) and not self.stopped and epoch < self.setup.config.epochs:
            self.display.say(f"early stopping: no better val mIoU for {self.setup.config.early_stopping} epochs")
        signals.raise_pending()

    def _validating(self, done: int, total: int) -> None:
        signals.raise_pending()
        self.display.validating(done, total)

    def _save_within_epoch(self) -> None:
        """A checkpoint of an epoch that is not closed."""
        self.state = replace(self.state, seconds=self._seconds())
        checkpoint = Unfinished(step_folder(self.setup.checkpoints, self.state.step), training_arrays(self.model))
        checkpoint.commit(as_json(self.state))
        prune(checkpoint.folder, self.setup.config.checkpoint.keep)

    def _steps_taken(self) -> int:
        """Those that the schedule counts: in float16 a step with infinite gradients is passed over."""
        optimizer = self.model.optimizer
        return int(getattr(optimizer, "inner_optimizer", optimizer)._iterations.numpy())

    def _seconds(self) -> float:
        now = time.perf_counter()
        seconds, self._since = self.state.seconds + now - self._since, now
        return seconds

    def _warn_of_collapse(self, epoch: int, scores: Scores) -> None:
        """Usual in the first two epochs; later it is told when it begins and when training ends with it."""
        told = self.state.told_collapse
        if scores.collapsed and (epoch == self.setup.config.epochs or (epoch > 2 and not told)):
            self.display.say(
                f"warning: val mIoU {scores.mean_iou:.4f} is no better than predicting one class everywhere: the "
                "network has collapsed. loss=cross_entropy_dice, loss.class_weights=median_frequency, "
                "model.norm=batch, more epochs or another learning rate may help"
            )
            told = True
        self.state = replace(self.state, told_collapse=told and scores.collapsed)


def _shapes(arrays: Arrays) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


class Speed:
    """Training images in a second in this epoch, without the first step of the process, which compiles."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size, self._steps = batch_size, 0
        self._warm: float | None = None  # when the first step of this process, or the epoch's start, was over
        self._last = 0.0

    def start_epoch(self) -> None:
        self._steps = 0
        if self._warm is not None:
            self._warm = time.perf_counter()

    def step(self) -> None:
        self._last = time.perf_counter()
        if self._warm is None:
            self._warm = self._last
        else:
            self._steps += 1

    @property
    def images_per_second(self) -> float:
        """0 before there is a second step."""
        return self._steps * self._batch_size / (self._last - self._warm) if self._steps and self._warm else 0.0


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """The moving average in the place of the weights, where the optimizer keeps one, and back again."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # float16 wraps it for loss scaling
    # Before the first update, which `accumulate` may put off, Keras's averages are zeros.
    averaged = optimizer.use_ema and optimizer.iterations.numpy() > 0
    averages = optimizer._model_variables_moving_average if averaged else []  # what Keras's SwapEMAWeights uses
    pairs = list(zip(model.trainable_variables, averages, strict=True)) if averages else []
    kept = [variable.numpy() for variable, _ in pairs]
    for variable, average in pairs:
        variable.assign(average)
    try:
        yield
    finally:
        for (variable, _), values in zip(pairs, kept, strict=True):
            variable.assign(values)
