"""Keras with the settings that this program needs, whatever keras.json, the environment or the caller's code says."""

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.runtime.errors import UserError
from pipeline.runtime.text import one_of, plain

BACKEND = "tensorflow"
# What Keras reads in the environment at import. Its caps would end a training early, without a word.
VARIABLES = ("KERAS_BACKEND", "KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH", "KERAS_NNX_ENABLED")
# Anything else in keras.json ends the import with a traceback.
CHOICES = {"floatx": ("float16", "float32", "float64"), "image_data_format": ("channels_last", "channels_first")}


def check_settings_files() -> None:
    """Refuse settings with which TensorFlow, which has a copy of an old Keras, or Keras cannot be imported.

    Raises:
        UserError: with a line for each of their faults.
    """
    if faults := _faults(Path(_keras_home()).expanduser() / "keras.json"):
        raise UserError(*faults)


def _keras_home() -> str:
    """The folder of Keras's settings and downloads, as Keras chooses it: KERAS_HOME, or ~/.keras, or in /tmp."""
    home = os.path.expanduser("~")
    return os.environ.get("KERAS_HOME") or f"{home if os.access(home, os.W_OK) else '/tmp'}/.keras"


def _faults(path: Path) -> list[str]:
    """What is wrong with a settings file, a line each."""
    advice = "correct the file, or remove it"
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):  # of a file that is not JSON nothing is used
        return []
    except OSError as error:
        # One that lies in a folder which cannot be entered does not exist for Keras.
        return [f"{path}: Keras cannot read it: {error.strerror}; {advice}"] if os.path.exists(path) else []
    if not isinstance(found, dict):
        return [f"{path}: is not a table of Keras's settings; {advice}"]
    faults = [
        f"{path}: {key}={plain(str(found[key]))}: {one_of(choices)} expected; {advice}"
        for key, choices in CHOICES.items()
        if key in found and found[key] not in choices
    ]
    if not isinstance(found.get("epsilon", 0.0), float):
        faults.append(f"{path}: epsilon={plain(str(found['epsilon']))}: a number with a point expected; {advice}")
    return faults


def import_keras() -> Any:
    """Import Keras with TensorFlow as its backend. The environment is as before afterwards.

    Raises:
        UserError: another part of this process has imported it with another backend, which cannot be changed.
    """
    # This part of Keras is complete before any other, also where its import failed for want of another backend.
    settings = sys.modules.get("keras.src.backend.config")
    if settings is None or settings.backend() == BACKEND:
        with keras_variables():
            import keras
        settings = keras.config
    if (found := settings.backend()) != BACKEND:
        raise UserError(
            f"keras: was imported in this process with the backend '{found}', which cannot be changed any more; "
            f"'{BACKEND}' expected: start a new process with KERAS_BACKEND={BACKEND}"
        )
    return keras


def set_keras(precision: str) -> None:
    """Set everything global that a network's arithmetic, or the length of its training, may depend on.

    Args:
        precision: Keras's dtype policy, such as float32 or mixed_bfloat16.
    """
    keras = import_keras()
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(1e-7)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_max_epochs(None)
    keras.config.set_max_steps_per_epoch(None)
    keras.config.set_dtype_policy(precision)


@contextlib.contextmanager
def keras_set(precision: str) -> Iterator[None]:
    """`set_keras` for one block, in somebody else's process: the caller's settings are restored at its end."""
    config = import_keras().config
    before = {
        config.set_floatx: config.floatx(),
        config.set_epsilon: config.epsilon(),
        config.set_image_data_format: config.image_data_format(),
        config.set_max_epochs: config.max_epochs(),
        config.set_max_steps_per_epoch: config.max_steps_per_epoch(),
        config.set_dtype_policy: config.dtype_policy(),
    }
    try:
        set_keras(precision)
        yield
    finally:
        for restore, value in before.items():
            restore(value)


@contextlib.contextmanager
def keras_variables() -> Iterator[None]:
    """While the block runs, Keras's environment variables are those with which Keras is to be imported.

    Of a missing home directory TensorFlow, unlike Keras, would make a folder called ~ in the current one.
    """
    before = {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
    home = os.environ.get("KERAS_HOME")
    os.environ.update(KERAS_BACKEND=BACKEND, KERAS_NNX_ENABLED="0", KERAS_HOME=_keras_home())
    try:
        yield
    finally:
        for name in (*VARIABLES, "KERAS_HOME"):
            os.environ.pop(name, None)
        os.environ.update(before if home is None else {**before, "KERAS_HOME": home})
