"""All that the next training step depends on, as arrays: read from a model, and restored into one."""

from collections.abc import Iterator

import keras
import numpy as np

from pipeline.model.weights import Arrays, assign, named_weights, set_weights


def training_arrays(model: keras.Model) -> dict[str, Arrays]:
    """The state of a compiled model whose optimizer is built, by the name of the checkpoint's file.

    weights.npz: weights, and BatchNormalization's moving statistics.
    optimizer.npz: step count, moments, the weights' moving average, loss scale.
    running.npz: the state of every random generator, and the sums of the epoch's metrics so far.
    """
    optimizer = {path: np.asarray(variable) for path, variable in _optimizer_variables(model).items()}
    running = {name: np.asarray(variable) for name, variable in _running_variables(model).items()}
    return {"weights.npz": named_weights(model), "optimizer.npz": optimizer, "running.npz": running}


def restore(model: keras.Model, files: dict[str, Arrays], source: str) -> None:
    """Restore what `training_arrays` returned into a compiled model whose optimizer is built.

    Keras's `fit` resets the sums of the metrics when an epoch begins; `restore_running` restores those again.

    Args:
        source: where the arrays are from, for messages.

    Raises:
        UserError: they belong to another network or another optimizer.
    """
    set_weights(model, files["weights.npz"], f"{source}/weights.npz")
    assign(_optimizer_variables(model), files["optimizer.npz"], f"{source}/optimizer.npz")
    restore_running(model, files["running.npz"], source)


def reset_optimizer(model: keras.Model, optimizer: Arrays) -> None:
    """Bring the optimizer and the metrics of a compiled model back to their state before the first step.

    Args:
        optimizer: that state, as `training_arrays` returned it.
    """
    assign(_optimizer_variables(model), optimizer, "the new optimizer")
    model.reset_metrics()


def restore_running(model: keras.Model, running: Arrays, source: str) -> None:
    """Restore only the state of the random generators and the sums of the metrics.

    Raises:
        UserError: they belong to another network.
    """
    assign(_running_variables(model), running, f"{source}/running.npz")


def _optimizer_variables(model: keras.Model) -> dict[str, keras.Variable]:
    # By the last two parts of their paths: in float16 the optimizer is within the scope of one that scales the loss.
    return {"/".join(variable.path.split("/")[-2:]): variable for variable in model.optimizer.variables}


def _running_variables(model: keras.Model) -> dict[str, keras.Variable]:
    return dict(_named_running(model))


def _named_running(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    yield from _generators(model)
    for metric in model.metrics:
        for variable in metric.variables:
            yield f"metrics/{metric.name}/{variable.name}", variable


def _generators(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    for layer in model.layers:
        weights = {id(weight) for weight in layer.weights}
        for variable in layer.variables:
            if id(variable) not in weights:  # the state of a dropout layer's random generator
                yield f"{layer.name}/{variable.name}", variable
