"""Weights as plain named arrays, their hash, and checkpoints that are complete or absent.

A checkpoint is a folder: weights.npz, optimizer.npz where there is one, and state.json with the training state and the
SHA-256 of the others. No pickle, no code: names, shapes and numbers.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import keras
import numpy as np

from pipeline.errors import UserError

Arrays = dict[str, np.ndarray]  # "<layer>/<variable>" -> values


def named_weights(model: keras.Model) -> Arrays:
    """The weights of a model, trained or tracked as BatchNormalization's statistics are, by layer and variable."""
    return {f"{layer.name}/{weight.name}": np.asarray(weight) for layer in model.layers for weight in layer.weights}


def set_weights(model: keras.Model, arrays: Arrays, origin: str) -> None:
    """Put named arrays into a model.

    Raises:
        UserError: a name, shape or dtype is not exactly the model's; `origin` says where the arrays are from.
    """
    variables = {f"{layer.name}/{weight.name}": weight for layer in model.layers for weight in layer.weights}
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


def optimizer_arrays(optimizer: keras.Optimizer) -> Arrays:
    """Every variable of an optimizer (step count, moments, moving averages, loss scale) by its path."""
    return {variable.path: np.asarray(variable) for variable in optimizer.variables}


def write_checkpoint(folder: Path, state: dict[str, Any], weights: Arrays, optimizer: Arrays | None = None) -> None:
    """Replace the checkpoint in a folder as a whole.

    Whenever this is killed, either the old checkpoint or the new one is there and complete: in the folder or, in the
    instant between the last two renames, where `recover_checkpoint` finds it.

    Args:
        state: what JSON can say of the training; completed with the SHA-256 of each file.
    """
    recover_checkpoint(folder)
    unfinished, outdated = _beside(folder, "unfinished"), _beside(folder, "outdated")
    for leftover in (unfinished, outdated):
        shutil.rmtree(leftover, ignore_errors=True)
    unfinished.mkdir(parents=True)
    files = {"weights.npz": weights} | ({"optimizer.npz": optimizer} if optimizer is not None else {})
    hashes = {}
    for name, arrays in files.items():
        with (unfinished / name).open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        hashes[name] = hashlib.sha256((unfinished / name).read_bytes()).hexdigest()
    with (unfinished / "state.json").open("w") as text:
        json.dump({**state, "sha256": hashes}, text, indent=2)
        text.flush()
        os.fsync(text.fileno())
    if folder.exists():
        folder.rename(outdated)
    unfinished.rename(folder)
    shutil.rmtree(outdated, ignore_errors=True)


def recover_checkpoint(folder: Path) -> None:
    """Put the old checkpoint back where its replacement was killed between two renames; to be called before reading."""
    outdated = _beside(folder, "outdated")
    if outdated.exists() and not folder.exists():
        outdated.rename(folder)


def _beside(folder: Path, word: str) -> Path:
    return folder.with_name(f".{folder.name}.{word}")


def read_arrays(path: Path) -> Arrays:
    """The arrays of an npz file, which is never unpickled.

    Raises:
        UserError: the file is missing, damaged or holds Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: np.asarray(file[name]) for name in file.files}  # other than .npy it would give bytes
    except Exception as error:  # numpy raises what its zip reader raises: a dozen types, all meaning "damaged"
        raise UserError(f"{path}: cannot be read as named arrays (npz): {error}") from error
