"""Everything in a network under training that the next step depends on, as arrays: out of it and into it again."""

from collections.abc import Iterator

import keras
import numpy as np

from pipeline.model.weights import Arrays, assign, named_weights, set_weights


def training_arrays(model: keras.Model) -> dict[str, Arrays]:
    """A compiled model's state, its optimizer built, by the file of a checkpoint that it goes into.

    weights.npz: weights and moving statistics. optimizer.npz: step count, moments, moving averages, loss scale.
    running.npz: the state of every random generator, and the sums of the epoch's metrics so far.
    """
    optimizer = {path: np.asarray(variable) for path, variable in _optimizer_variables(model).items()}
    running = {name: np.asarray(variable) for name, variable in _running_variables(model).items()}
    return {"weights.npz": named_weights(model), "optimizer.npz": optimizer, "running.npz": running}


def restore(model: keras.Model, files: dict[str, Arrays], origin: str) -> None:
    """Put arrays from `training_arrays` into a compiled model whose optimizer is built.

    Keras's `fit` empties the sums of metrics when an epoch begins: `restore_running` puts them back.

    Raises:
        UserError: they are another network's or another optimizer's.
    """
    set_weights(model, files["weights.npz"], f"{origin}/weights.npz")
    assign(_optimizer_variables(model), files["optimizer.npz"], f"{origin}/optimizer.npz")
    restore_running(model, files["running.npz"], origin)


def restore_running(model: keras.Model, running: Arrays, origin: str) -> None:
    """Put the state of the random generators and the sums of metrics back alone.

    Raises:
        UserError: they are another network's.
    """
    assign(_running_variables(model), running, f"{origin}/running.npz")


def _optimizer_variables(model: keras.Model) -> dict[str, keras.Variable]:
    # Without the scopes that an optimizer is within: float16's is within the one that scales the loss.
    return {"/".join(variable.path.split("/")[-2:]): variable for variable in model.optimizer.variables}


def _running_variables(model: keras.Model) -> dict[str, keras.Variable]:
    return dict(_named_running(model))


def _named_running(model: keras.Model) -> Iterator[tuple[str, keras.Variable]]:
    for layer in model.layers:
        weights = {id(weight) for weight in layer.weights}
        for variable in layer.variables:
            if id(variable) not in weights:  # the state of a dropout layer's generator
                yield f"{layer.name}/{variable.name}", variable
    for metric in model.metrics:
        for variable in metric.variables:
            yield f"metrics/{metric.name}/{variable.name}", variable
