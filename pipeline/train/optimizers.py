"""Optimizers and learning-rate schedules by name."""

import contextlib
import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from pipeline.config.schema import OptimizerConfig, ScheduleConfig
from pipeline.model.encoders.registry import ENCODER


class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A linear rise from zero over the warm-up, then constant, half a cosine, or a power of what is left.

    Update s of S, with W of warm-up, has f = (s - W) / (S - W) behind it and gets
    constant: r; cosine: r (1 + cos(pi f)) / 2; poly: r (1 - f)**power.
    """

    def __init__(
        self, config: ScheduleConfig, learning_rate: float, steps: int, steps_per_epoch: int, accumulate: int = 1
    ) -> None:
        """
        Args:
            steps: batches of the run, of which `accumulate` make an update; so do those of an epoch.
        """
        self.config = config
        self.learning_rate = learning_rate
        self.accumulate = accumulate
        self.updates = steps // accumulate
        self.warmup_updates = round(config.warmup_epochs * steps_per_epoch / accumulate)

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """The learning rate, float32, of the update that batch 0, 1, … is part of."""
        update = tf.cast(tf.cast(step, tf.int64) // self.accumulate, tf.float32)
        falling = max(1, self.updates - self.warmup_updates)
        left = 1 - tf.clip_by_value((update - self.warmup_updates) / falling, 0.0, 1.0)
        factor = {
            "constant": lambda: tf.ones_like(update),
            "cosine": lambda: 0.5 * (1 - tf.cos(math.pi * left)),
            "poly": lambda: left ** (self.config.power or 1.0),
        }[self.config.name]()
        # The first update already moves: (update + 1) / warm-up.
        rise = tf.minimum((update + 1) / self.warmup_updates, 1.0) if self.warmup_updates else 1.0
        return self.learning_rate * factor * rise

    def get_config(self) -> dict[str, object]:
        """Keras asks for it when it describes an optimizer; a run's own configuration is what is stored."""
        return {"name": self.config.name, "learning_rate": self.learning_rate, "updates": self.updates}


def build_optimizer(config: OptimizerConfig, learning_rate: WarmupSchedule) -> keras.Optimizer:
    """The optimizer of the configuration; biases and normalisation parameters are not decayed.

    A pretrained encoder learns at `encoder_rate` of the learning rate; what decays decays at all of it, unless frozen.
    """
    common = {
        "learning_rate": learning_rate,
        # Keras counts updates for Adam's corrections, batches for the learning rate, which `WarmupSchedule` knows.
        # Batches that are left over after the last update of a run change nothing.
        "gradient_accumulation_steps": config.accumulate if config.accumulate > 1 else None,
        # Each device clips the gradient of its share of a batch before they are added up: so the sum stays within.
        "global_clipnorm": config.clip_norm and config.clip_norm / tf.distribute.get_strategy().num_replicas_in_sync,
        "use_ema": config.ema is not None,
        "ema_momentum": config.ema if config.ema is not None else 0.99,
        "name": config.name,
    }

    def adapted(kind: type[keras.Optimizer]) -> type[keras.Optimizer]:
        kind = kind if config.encoder_rate == 1 else _slower_encoder(kind, config.encoder_rate)
        return _average_of_updates(kind) if config.ema is not None and config.accumulate > 1 else kind

    optimizer: keras.Optimizer = {
        "adam": lambda: adapted(keras.optimizers.Adam)(**common),
        "adamw": lambda: adapted(keras.optimizers.AdamW)(**common, weight_decay=config.weight_decay or 0.0),
        "sgd": lambda: adapted(keras.optimizers.SGD)(
            **common,
            weight_decay=config.weight_decay or None,
            momentum=config.momentum or 0.0,
            nesterov=bool(config.momentum),
        ),
    }[config.name]()
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


def _slower_encoder(kind: type[keras.Optimizer], share: float) -> type[keras.Optimizer]:
    """An optimizer that takes steps of `share` of the learning rate with the weights of an encoder."""

    class SlowerEncoder(kind):
        def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
            """Keras calls it for each variable, which is TensorFlow's own and has lost its path."""
            encoder = self._trainable_variables[self._get_variable_index(variable)].path.startswith(ENCODER)
            super().update_step(gradient, variable, learning_rate * share if encoder else learning_rate)

    return SlowerEncoder


def _average_of_updates(kind: type[keras.Optimizer]) -> type[keras.Optimizer]:
    """An optimizer whose moving average follows its updates; Keras's follows the batches that they are made of."""

    class AverageOfUpdates(kind):
        def _update_model_variables_moving_average(self, trainable_variables: list[keras.Variable]) -> None:
            update = super()._update_model_variables_moving_average
            updated = (self._iterations + 1) % self.gradient_accumulation_steps == 0
            keras.ops.cond(updated, lambda: update(trainable_variables), lambda: None)

    return AverageOfUpdates


def steps_counted(optimizer: keras.Optimizer) -> int:
    """The steps that an optimizer's schedule has seen: in float16 a step with infinite gradients is skipped."""
    return int(_unscaled(optimizer)._iterations.numpy())


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """In this block, where the optimizer keeps a moving average of the weights, the model has it as its weights."""
    optimizer = _unscaled(model.optimizer)
    # Before the first update, which `accumulate` may put off, Keras's averages are zeros.
    averaged = optimizer.use_ema and optimizer.iterations.numpy() > 0
    averages = optimizer._model_variables_moving_average if averaged else []  # what Keras's SwapEMAWeights uses
    pairs = list(zip(model.trainable_variables, averages, strict=True)) if averages else []
    weights = [variable.numpy() for variable, _ in pairs]
    for variable, average in pairs:
        variable.assign(average)
    try:
        yield
    finally:
        for (variable, _), values in zip(pairs, weights, strict=True):
            variable.assign(values)


def _unscaled(optimizer: keras.Optimizer) -> keras.Optimizer:
    """The optimizer itself: in float16 Keras wraps it in one that scales the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)
