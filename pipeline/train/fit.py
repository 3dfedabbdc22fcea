"""Training with Keras's `fit`: one flat stream of steps, from the beginning or from any step on."""

from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.evaluate.evaluator import Evaluator
from pipeline.model.weights import set_weights
from pipeline.runtime import signals
from pipeline.train.checkpoint import Start
from pipeline.train.epochs import Epochs, Trained, Watcher
from pipeline.train.optimizers import WarmupSchedule, build_optimizer
from pipeline.train.progress import TrainingDisplay


def train(
    model: keras.Model,
    loss: keras.losses.Loss,
    stream_from: Callable[[int], tf.data.Dataset],
    steps_per_epoch: int,
    validate: Evaluator,
    config: Config,
    checkpoints: Path,
    watcher: Watcher,
    start: Start | None = None,
) -> Trained:
    """Train a model, from its beginning or from any step on, and keep its best epoch.

    Args:
        stream_from: the batches from a step on.
        checkpoints: the run's folder of checkpoints.

    Raises:
        RunFailed: the loss became NaN or infinite, or a checkpoint cannot be written.
        UserError: `start` is another network's.
        Interrupted: by a signal, after the step in flight; a checkpoint was written.
    """
    schedule = WarmupSchedule(
        config.schedule,
        config.optimizer.learning_rate,
        config.epochs * steps_per_epoch,
        steps_per_epoch,
        config.optimizer.accumulate,
    )
    with model.distribute_strategy.scope():  # the optimizer lives on the network's devices
        model.compile(optimizer=build_optimizer(config.optimizer, schedule), loss=loss)
        # Left to the first step, its variables would be made while that is traced, and it would be traced twice.
        model.optimizer.build(model.trainable_variables)
    done = start.state.epoch if start else 0
    with TrainingDisplay(config.epochs, done, steps_per_epoch) as display, signals.deferred():
        epochs = Epochs(schedule, steps_per_epoch, validate, config, checkpoints, watcher, display)
        epochs.set_model(model)
        if start is not None:
            epochs.go_on(start)
        while not epochs.over:
            under_way = epochs.state.step % steps_per_epoch
            model.fit(
                stream_from(epochs.state.step),
                initial_epoch=epochs.state.epoch,
                # An epoch that was interrupted is finished by a `fit` of its own, which has fewer steps.
                epochs=epochs.state.epoch + 1 if under_way else config.epochs,
                steps_per_epoch=steps_per_epoch - under_way,
                shuffle=False,
                verbose=0,
                callbacks=[epochs],
            )
            if under_way:  # `fit` leaves the moving average in the place of the weights
                set_weights(model, epochs.last_weights, "the last step")
    return epochs.trained()
