"""A network's weights as plain named arrays: out of it, into it, their hash, and from a file. No pickle, no code."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipeline.runtime.errors import UserError

if TYPE_CHECKING:
    import keras  # checkpoints are looked at before the seconds that this import takes

Arrays = dict[str, np.ndarray]  # "<layer>/<variable>" -> values


def named_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """The weights of a model, trained or tracked as BatchNormalization's statistics are, by layer and variable."""
    return {f"{layer.name}/{weight.name}": weight for layer in model.layers for weight in layer.weights}


def named_weights(model: keras.Model) -> Arrays:
    """The values of `named_variables`."""
    return {name: np.asarray(variable) for name, variable in named_variables(model).items()}


def set_weights(model: keras.Model, arrays: Arrays, origin: str) -> None:
    """Put named arrays into a model.

    Raises:
        UserError: a name, shape or dtype is not exactly the model's; `origin` says where the arrays are from.
    """
    assign(named_variables(model), arrays, origin)


def assign(variables: dict[str, keras.Variable], arrays: Arrays, origin: str) -> None:
    """Put named arrays into the variables of these names, into all or into none.

    Raises:
        UserError: a name, shape or dtype is not exactly the variables'; `origin` says where the arrays are from.
    """
    faults = [f"{origin}: has no weights '{name}', which the network has" for name in variables if name not in arrays]
    faults += [f"{origin}: has weights '{name}', which the network has not" for name in arrays if name not in variables]
    for name, variable in variables.items():
        if name in arrays and (arrays[name].shape != tuple(variable.shape) or arrays[name].dtype != variable.dtype):
            faults.append(
                f"{origin}: '{name}' is {arrays[name].dtype} {arrays[name].shape}, "
                f"but the network has {variable.dtype} {tuple(variable.shape)}"
            )
    if faults:
        raise UserError(*faults[:5])
    for name, variable in variables.items():
        variable.assign(arrays[name])


def weights_sha256(arrays: Arrays) -> str:
    """SHA-256 over (name, dtype, shape, little-endian bytes) of the arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        little = array.astype(array.dtype.newbyteorder("<"), copy=False)
        digest.update(json.dumps([name, str(array.dtype), list(array.shape)]).encode())
        digest.update(little.tobytes())
    return digest.hexdigest()


def read_arrays(path: Path) -> Arrays:
    """The arrays of an npz file, which is never unpickled.

    Raises:
        UserError: the file is missing, damaged, compressed (a few bytes could fill the memory) or holds Python objects.
    """
    try:
        with zipfile.ZipFile(path) as parts:
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist()):
                raise ValueError("it is compressed, which no checkpoint is")
            if sum(part.file_size for part in parts.infolist()) > path.stat().st_size:
                raise ValueError("its parts are larger than the file")
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}  # other than .npy it would give bytes
    except Exception as error:  # numpy raises what its zip reader raises: a dozen types, all meaning "damaged"
        raise UserError(f"{path}: cannot be read as named arrays (npz): {error}") from error
