"""Training with Keras's `fit`: one flat stream of steps, and at each epoch's end exact validation and checkpoints."""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from pipeline.checkpoint import Arrays, named_weights, optimizer_arrays, weights_sha256, write_checkpoint
from pipeline.config import Config
from pipeline.display import TrainingDisplay
from pipeline.errors import RunFailed
from pipeline.model.metrics import Scores
from pipeline.model.optimizers import WarmupSchedule, build_optimizer
from pipeline.scoring import Evaluator, OnPrediction

# Called with the completed epoch, from 1, and its metrics by their names in MLflow.
OnEpoch = Callable[[int, dict[str, float]], None]


@dataclass
class Trained:
    """What training leaves: the epoch with the highest validation mIoU, and the last one."""

    best_epoch: int
    best_scores: Scores
    best_weights: Arrays  # as evaluated: with the moving average applied where there is one
    best_weights_sha256: str
    last_weights_sha256: str


def train(
    model: keras.Model,
    loss: keras.losses.Loss,
    stream: tf.data.Dataset,
    steps_per_epoch: int,
    validate: Evaluator,
    config: Config,
    checkpoints: Path,
    on_epoch: OnEpoch,
    on_prediction: Callable[[int], OnPrediction],
) -> Trained:
    """Train a model on a stream of batches and keep its best epoch.

    Args:
        checkpoints: folder for `best` and `last`.
        on_prediction: for an epoch, what is called with each validation picture's prediction.

    Raises:
        RunFailed: the loss became NaN or infinite.
    """
    schedule = WarmupSchedule(
        config.schedule, config.optimizer.learning_rate, config.epochs * steps_per_epoch, steps_per_epoch
    )
    with model.distribute_strategy.scope():  # the optimizer lives on the network's devices
        model.compile(optimizer=build_optimizer(config.optimizer, schedule), loss=loss)
    with TrainingDisplay(config.epochs, steps_per_epoch, config.batch_size) as display:
        epochs = _Epochs(schedule, steps_per_epoch, validate, config, checkpoints, on_epoch, on_prediction, display)
        model.fit(
            stream,
            epochs=config.epochs,
            steps_per_epoch=steps_per_epoch,
            shuffle=False,
            verbose=0,
            callbacks=[epochs],
        )
    assert epochs.trained is not None  # at least one epoch was run
    return epochs.trained


class _Epochs(keras.callbacks.Callback):
    """Watches every step, and closes every epoch: validate, keep the best, tell."""

    def __init__(
        self,
        schedule: WarmupSchedule,
        steps_per_epoch: int,
        validate: Evaluator,
        config: Config,
        checkpoints: Path,
        on_epoch: OnEpoch,
        on_prediction: Callable[[int], OnPrediction],
        display: TrainingDisplay,
    ) -> None:
        super().__init__()
        self.schedule, self.steps_per_epoch, self.validate, self.config = schedule, steps_per_epoch, validate, config
        self.checkpoints, self.on_epoch, self.on_prediction, self.display = (
            checkpoints,
            on_epoch,
            on_prediction,
            display,
        )
        self.trained: Trained | None = None
        self.epoch = 0
        self._told_collapse = False
        self._warm = 0.0  # when the first step of this process or the epoch's start was over

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        self.epoch = epoch + 1
        self._started = time.perf_counter()
        self._timed_steps = 0
        if epoch:
            self._warm = self._started

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        loss = logs["loss"]  # mean over the epoch so far: once it is not finite, it stays so
        if not math.isfinite(loss):
            raise RunFailed(
                f"the loss became {loss} in epoch {self.epoch}, step {batch + 1} of {self.steps_per_epoch} "
                f"(optimizer.learning_rate={self.config.optimizer.learning_rate}, precision={self.config.precision}): "
                "a lower learning rate, optimizer.clip_norm=1, schedule.warmup_epochs=1 or precision=float32 may help"
            )
        if not self._warm:  # the first step of all compiles, and is left out of the speed
            self._warm = time.perf_counter()
        else:
            self._timed_steps += 1
        self.display.step(self.epoch, batch + 1, loss, self._speed(time.perf_counter()))

    def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
        trained_at = time.perf_counter()
        speed = self._speed(trained_at)
        last = named_weights(self.model)
        with averaged_weights(self.model):
            scores = self.validate(self.on_prediction(self.epoch), self.display.validating)
            evaluated = named_weights(self.model) if self.config.optimizer.ema else last
        validated_at = time.perf_counter()
        best = self.trained is None or scores.mean_iou > self.trained.best_scores.mean_iou
        if best:
            self.trained = Trained(self.epoch, scores, evaluated, weights_sha256(evaluated), "")
            write_checkpoint(self.checkpoints / "best", self._state(scores), evaluated)
        assert self.trained is not None
        self.trained.last_weights_sha256 = weights_sha256(last)
        write_checkpoint(self.checkpoints / "last", self._state(scores), last, optimizer_arrays(self.model.optimizer))
        saved_at = time.perf_counter()
        metrics = {
            "train/loss": logs["loss"],
            "train/images_per_second": speed,
            "val/loss": scores.loss,
            "val/mean_iou": scores.mean_iou,
            "val/pixel_accuracy": scores.pixel_accuracy,
            "learning_rate": float(self.schedule(self.epoch * self.steps_per_epoch - 1)),
            "time/train_seconds": trained_at - self._started,
            "time/validation_seconds": validated_at - trained_at,
            "time/checkpoint_seconds": saved_at - validated_at,
        }
        self.on_epoch(self.epoch, metrics)
        # Shown when it is logged: what a person saw of a run that is killed is in MLflow too.
        self.display.epoch(self.epoch, metrics, best, self.trained.best_scores.mean_iou)
        # Usual in the first two epochs; later it is told when it begins and when training ends with it.
        if scores.collapsed and (self.epoch == self.config.epochs or (self.epoch > 2 and not self._told_collapse)):
            self._told_collapse = True
            self.display.say(
                f"warning: val mIoU {scores.mean_iou:.4f} is no better than predicting one class everywhere: the "
                "network has collapsed. loss=cross_entropy_dice, loss.class_weights=median_frequency, "
                "model.norm=batch, more epochs or another learning rate may help"
            )
        elif not scores.collapsed:
            self._told_collapse = False
        patience = self.config.early_stopping
        if patience is not None and self.epoch - self.trained.best_epoch >= patience:
            self.display.say(f"early stopping: no better val mIoU for {patience} epochs")
            self.model.stop_training = True

    def _speed(self, now: float) -> float:
        """Training pictures in a second, without the first step of the process; 0 before there is a second step."""
        return self._timed_steps * self.config.batch_size / (now - self._warm) if self._timed_steps else 0.0

    def _state(self, scores: Scores) -> dict[str, Any]:
        return {"epoch": self.epoch, "step": self.epoch * self.steps_per_epoch, "val_mean_iou": scores.mean_iou}


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """The moving average in the place of the weights, where the optimizer keeps one, and back again."""
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # float16 wraps it for loss scaling
    averages = (
        optimizer._model_variables_moving_average if optimizer.use_ema else []
    )  # what Keras's SwapEMAWeights uses
    pairs = list(zip(model.trainable_variables, averages, strict=True)) if averages else []
    kept = [variable.numpy() for variable, _ in pairs]
    for variable, average in pairs:
        variable.assign(average)
    try:
        yield
    finally:
        for (variable, _), values in zip(pairs, kept, strict=True):
            variable.assign(values)
