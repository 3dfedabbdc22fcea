"""Training with Keras's `fit`, from scratch or from a checkpoint."""

import math

from pipeline.model.weights import set_weights
from pipeline.runtime import signals
from pipeline.train.checkpoint import ResumePoint
from pipeline.train.epochs import EpochCallback
from pipeline.train.progress import TrainingDisplay
from pipeline.train.setup import TrainingResult, TrainingSetup


def fit(setup: TrainingSetup, start: ResumePoint | None = None) -> TrainingResult:
    """Train a network until its last epoch, early stopping, or its observer stops it.

    Afterwards the network has the weights of its best epoch.

    Args:
        start: the checkpoint to resume from; None: train the network's present weights from step 0.

    Raises:
        RunFailed: the loss became NaN or infinite, or a checkpoint cannot be written.
        UserError: `start` belongs to another network.
        Interrupted: by a signal; the step in flight was finished, and a checkpoint written.
    """
    network, config = setup.network.model, setup.config
    with _display(setup, start) as display, signals.deferred():
        epochs = EpochCallback(setup, display)
        epochs.set_model(network)
        if start is not None:
            epochs.restore(start)
        while not epochs.over:
            taken = epochs.state.steps_into_epoch
            if taken == setup.steps_per_epoch:  # interrupted between an epoch's last step and the end of its validation
                epochs.close_epoch(train_seconds=0.0)
                continue
            network.fit(
                setup.batches_from(epochs.state.step),
                initial_epoch=epochs.state.epoch,
                # The rest of an epoch that was interrupted is a `fit` of its own, which has fewer steps.
                epochs=epochs.state.epoch + 1 if taken else config.epochs,
                steps_per_epoch=setup.steps_per_epoch - taken,
                shuffle=False,
                verbose=0,
                callbacks=[epochs],
            )
            if taken:  # Keras's `fit` ends with the moving average as the weights
                set_weights(network, epochs.last_weights, "the last step")
    result = epochs.result()
    set_weights(network, result.best_weights, str(result.best))
    return result


def _display(setup: TrainingSetup, start: ResumePoint | None) -> TrainingDisplay:
    config, steps = setup.config, setup.steps_per_epoch
    limit = math.inf if config.max_minutes is None or setup.last_epoch is not None else 60 * config.max_minutes
    if start is None:
        return TrainingDisplay(config.epochs, 0, steps, most_seconds=limit)
    state = start.state
    return TrainingDisplay(config.epochs, state.epoch, steps, state.epoch_seconds, limit - state.seconds)
