"""Optimizers and learning-rate schedules by name, and the moving average of the weights."""

import contextlib
import math
from collections.abc import Iterator

import keras
import tensorflow as tf

from pipeline.config.schema import Config, OptimizerConfig, ScheduleConfig
from pipeline.model.encoders.registry import ENCODER


class WarmupSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """The learning rate: a linear warm-up, then a constant, cosine or polynomial schedule.

    Update s (from 0) of S, with W updates of warm-up and the highest learning rate r, has
    while s < W: r (s + 1) / W (Goyal et al. 2017, section 2.2); then, with f = (s - W) / (S - W),
    constant: r;
    cosine: r (1 + cos(pi f)) / 2 (Loshchilov and Hutter 2017, equation 5, without restarts);
    poly: r (1 - f)**power (Chen et al. 2018, DeepLab, section 4.1).

    The rates of all updates are a table in a variable, so that a compiled training step serves any schedule.
    """

    def __init__(
        self, config: ScheduleConfig, learning_rate: float, steps: int, steps_per_epoch: int, accumulate: int = 1
    ) -> None:
        """Args:
        config: name, warm-up in epochs, and the exponent of poly.
        learning_rate: the highest, r.
        steps: batches of the whole run.
        steps_per_epoch: batches of an epoch.
        accumulate: batches of an update.
        """
        self.accumulate = accumulate
        rates = _learning_rates(
            config, learning_rate, steps // accumulate, config.warmup_epochs * steps_per_epoch / accumulate
        )
        self._rates = tf.Variable(rates, shape=[None], trainable=False)

    def become(self, other: "WarmupSchedule") -> None:
        """Take the rates of another schedule with the same `accumulate`."""
        self._rates.assign(other._rates)

    def __call__(self, step: tf.Tensor | int) -> tf.Tensor:
        """The learning rate, a float32 scalar, of the update that a batch (from 0) is part of."""
        update = tf.cast(step, tf.int64) // self.accumulate
        return tf.gather(self._rates, tf.minimum(update, tf.size(self._rates, tf.int64) - 1))

    def get_config(self) -> dict[str, object]:
        """For Keras, which includes it when it describes an optimizer; runs store their own configuration."""
        return {"accumulate": self.accumulate}


def _learning_rates(config: ScheduleConfig, highest: float, updates: int, warmup_updates: float) -> tf.Tensor:
    """The learning rate of each update and of the one after the last, (updates + 1,) float32."""
    warmup = round(warmup_updates)
    update = tf.range(updates + 1, dtype=tf.float32)
    left = 1 - tf.clip_by_value((update - warmup) / max(1, updates - warmup), 0.0, 1.0)  # 1 - f
    factor = {
        "constant": lambda: tf.ones_like(update),
        "cosine": lambda: 0.5 * (1 - tf.cos(math.pi * left)),
        "poly": lambda: left ** (config.power or 1.0),
    }[config.name]()
    # update + 1: the first update, too, changes the weights.
    rise = tf.minimum((update + 1) / warmup, 1.0) if warmup else 1.0
    return highest * factor * rise


def training_schedule(config: Config, steps_per_epoch: int) -> WarmupSchedule:
    """The schedule of a run."""
    return WarmupSchedule(
        config.schedule,
        config.optimizer.learning_rate,
        steps=config.epochs * steps_per_epoch,
        steps_per_epoch=steps_per_epoch,
        accumulate=config.optimizer.accumulate,
    )


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam, whose update of a variable is one operation instead of thirty.

    A training step is built and optimized sooner, and each update passes over the weights once.
    """

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable, learning_rate: tf.Tensor) -> None:
        """Keras calls this for each variable."""
        place = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=self.beta_1**step,
            beta2_power=self.beta_2**step,
            lr=learning_rate,
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=gradient,
        )


class FusedAdamW(FusedAdam, keras.optimizers.AdamW):
    """Keras's AdamW with that update; it lets the weights decay before."""


def build_optimizer(config: OptimizerConfig, learning_rate: WarmupSchedule) -> keras.Optimizer:
    """The optimizer that a configuration names; to be built in the scope of the strategy that trains with it.

    adam: Kingma and Ba 2015; adamw: Loshchilov and Hutter 2019; sgd: with Nesterov momentum, Sutskever et al. 2013.
    Weight decay is decoupled and applies to kernels, not to biases and normalisation parameters. The weights of an
    encoder learn at `encoder_rate` times the learning rate; they decay at the whole learning rate, unless frozen.
    """
    common = {
        "learning_rate": learning_rate,
        # Keras counts updates for Adam's bias correction, but batches for the schedule: hence `WarmupSchedule`'s
        # `accumulate`. Batches after the last update of a run change nothing.
        "gradient_accumulation_steps": config.accumulate if config.accumulate > 1 else None,
        # Each device clips the gradient of its share of a batch before these are summed: divided among the devices,
        # the limit holds for the sum.
        "global_clipnorm": config.clip_norm and config.clip_norm / tf.distribute.get_strategy().num_replicas_in_sync,
        "use_ema": config.ema is not None,
        "ema_momentum": config.ema if config.ema is not None else 0.99,
        "name": config.name,
    }

    def adapted(kind: type[keras.Optimizer]) -> type[keras.Optimizer]:
        kind = kind if config.encoder_rate == 1 else _slower_encoder(kind, config.encoder_rate)
        return _average_of_updates(kind) if config.ema is not None and config.accumulate > 1 else kind

    optimizer: keras.Optimizer = {
        "adam": lambda: adapted(FusedAdam)(**common),
        "adamw": lambda: adapted(FusedAdamW)(**common, weight_decay=config.weight_decay or 0.0),
        "sgd": lambda: adapted(keras.optimizers.SGD)(
            **common,
            weight_decay=config.weight_decay or None,
            momentum=config.momentum or 0.0,
            nesterov=bool(config.momentum),
        ),
    }[config.name]()
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if optimizer.weight_decay is not None:  # in a variable, so that a compiled training step serves any
        optimizer.weight_decay = tf.Variable(optimizer.weight_decay, trainable=False, dtype=tf.float32)
    return optimizer


def set_weight_decay(optimizer: keras.Optimizer, config: OptimizerConfig) -> None:
    """Give an optimizer of `build_optimizer` another weight decay; none stays none."""
    variable = _unscaled(optimizer).weight_decay
    if variable is not None:
        variable.assign(config.weight_decay or 0.0)


def _slower_encoder(kind: type[keras.Optimizer], share: float) -> type[keras.Optimizer]:
    """An optimizer class with `share` of the learning rate for the weights of an encoder."""

    class SlowerEncoder(kind):
        def update_step(self, gradient: tf.Tensor, variable: keras.Variable, learning_rate: tf.Tensor) -> None:
            """Keras calls this for each variable. It passes TensorFlow's variable, which does not know its path."""
            encoder = self._trainable_variables[self._get_variable_index(variable)].path.startswith(ENCODER)
            super().update_step(gradient, variable, learning_rate * share if encoder else learning_rate)

    return SlowerEncoder


def _average_of_updates(kind: type[keras.Optimizer]) -> type[keras.Optimizer]:
    """An optimizer class whose moving average is updated once per update; Keras's is updated once per batch."""

    class AverageOfUpdates(kind):
        def _update_model_variables_moving_average(self, trainable_variables: list[keras.Variable]) -> None:
            update = super()._update_model_variables_moving_average
            updated = (self._iterations + 1) % self.gradient_accumulation_steps == 0
            keras.ops.cond(updated, lambda: update(trainable_variables), lambda: None)

    return AverageOfUpdates


def weight_of_first_update(config: OptimizerConfig, steps: int) -> float:
    """The weight of the first update's result in the moving average after training; 0 without one.

    Keras's average begins there, and is not corrected for it as Adam's averages are. It is ema^(n - 1) after n updates.

    Args:
        steps: of the whole run, in batches.
    """
    updates = steps // config.accumulate
    return config.ema ** (updates - 1) if config.ema is not None and updates > 1 else 0.0


def steps_counted(optimizer: keras.Optimizer) -> int:
    """The steps that an optimizer's schedule has counted; in float16, steps with infinite gradients are skipped."""
    return int(_unscaled(optimizer)._iterations.numpy())


@contextlib.contextmanager
def averaged_weights(model: keras.Model) -> Iterator[None]:
    """Within this block the model has the moving average of its weights in their place, if the optimizer keeps one."""
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
