"""A network's weights as plain named arrays: get, set, hash and read them from a file. No pickle, no code."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.runtime.errors import UserError

if TYPE_CHECKING:
    import keras  # takes seconds; checkpoints are inspected before it is needed

Arrays = dict[str, np.ndarray]  # "<layer>/<variable>" -> values


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """The variables of a model, trainable or not (BatchNormalization's statistics), by "<layer>/<variable>"."""
    return {f"{layer.name}/{weight.name}": weight for layer in model.layers for weight in layer.weights}


def named_weights(model: keras.Model) -> Arrays:
    """The values of `named_variables`, copied."""
    return {name: np.asarray(variable) for name, variable in named_variables(model).items()}


def set_weights(model: keras.Model, arrays: Arrays, source: str) -> None:
    """Set all weights of a model to the arrays of their names.

    Args:
        source: the file or key that the arrays come from, for messages.

    Raises:
        UserError: a name, shape or dtype is not exactly the model's.
    """
    assign(named_variables(model), arrays, source)


def assign(variables: dict[str, keras.Variable], arrays: Arrays, source: str) -> None:
    """Set variables to the arrays of their names: all of them, or none where one does not fit.

    Args:
        source: the file or key that the arrays come from, for messages.

    Raises:
        UserError: a name, shape or dtype is not exactly the variables'.
    """
    faults = [f"{source}: missing weights '{name}' of the network" for name in variables if name not in arrays]
    faults += [
        f"{source}: unexpected weights '{name}': the network has no such variable"
        for name in arrays
        if name not in variables
    ]
    for name, variable in variables.items():
        if name in arrays and (arrays[name].shape != tuple(variable.shape) or arrays[name].dtype != variable.dtype):
            faults.append(
                f"{source}: weights '{name}' are {arrays[name].dtype} {arrays[name].shape}, "
                f"but the network has {variable.dtype} {tuple(variable.shape)}"
            )
    if faults:
        raise UserError(*faults[:5])
    for name, variable in variables.items():
        variable.assign(arrays[name])


def weights_sha256(arrays: Arrays) -> str:
    """SHA-256 (hex) over (name, dtype, shape, little-endian bytes) of the arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(json.dumps([name, str(array.dtype), list(array.shape)]).encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def read_arrays(path: Path) -> Arrays:
    """Read the arrays of an npz file; nothing in it is unpickled.

    Raises:
        UserError: the file is missing, damaged, compressed (a few bytes could fill the memory) or has Python objects.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
                raise ValueError("it is compressed; uncompressed arrays expected")
            if sum(part.file_size for part in parts.infolist()) > path.stat().st_size:
                raise ValueError("its members are larger than the file")
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}  # members other than .npy are bytes
    except Exception as error:  # numpy and zipfile raise a dozen types for damaged files
        raise UserError(f"{path}: cannot be read as named arrays (npz): {error}") from error
