"""Read a configuration that was stored with a run. It may be hostile: nothing in it is resolved or executed."""

from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.classes import of_earlier_versions
from pipeline.config.schema import Config
from pipeline.config.validation import checked
from pipeline.config.yaml_text import is_plain
from pipeline.runtime.errors import UserError

MAX_BYTES = 2**20  # reading YAML takes a minute for every ten million
# What runs did that were stored before these keys existed; before these keys of `dataset`. Of 16 bits they used the
# high byte, which is what scaling from this range gives, for every value.
BEFORE_THE_KEY = {"kernels": "tensorflow"}
BEFORE_THE_KEY_OF_DATASET = {"exif": "ignore", "intensity": [127.5, 65407.5]}


def read_config(path: Path) -> Config:
    """Read a configuration from a file; see `parse_config`.

    Raises:
        UserError: the file cannot be read, or is not a valid configuration.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES} bytes")
        return parse_config(path.read_text(encoding="utf-8"), str(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a stored configuration: {error}") from error


def parse_config(text: str, source: str) -> Config:
    """Parse plain values in YAML, which pass the same checks as values typed by hand.

    Args:
        source: where the text is from, for messages.

    Raises:
        UserError: it is not a valid configuration. It must not contain an interpolation (`${…}`) either: a stored
            configuration never does, and it could read this machine's environment.
    """
    try:
        stored = yaml.safe_load(text) if is_plain(text) else None
        # Searched for in the values, since YAML can write the two characters as escapes.
        if not isinstance(stored, dict) or "${" in str(stored):
            raise UserError(
                f"{source}: is not a stored configuration: plain keys and values expected, no '${{', type or alias"
            )
        composed = OmegaConf.create(_with_earlier_behaviour(stored))
        if missing := sorted(OmegaConf.missing_keys(composed)):  # the schema's defaults would replace them
            raise UserError(*(f"{source}: {key} has no value" for key in missing))
    except (ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        details = " ".join(str(error).split())
        raise UserError(f"{source}: cannot be read as a stored configuration: {details}") from error
    try:
        return checked(composed)
    except UserError as error:
        raise UserError(*(f"{source}: {fault}" for fault in error.faults)) from error


def _with_earlier_behaviour(stored: dict[Any, Any]) -> dict[Any, Any]:
    """The stored values, and what the program did then for keys that did not exist yet."""
    completed, dataset = BEFORE_THE_KEY | stored, stored.get("dataset")
    if isinstance(dataset, dict):
        completed["dataset"] = BEFORE_THE_KEY_OF_DATASET | dataset | of_earlier_versions(dataset)
    return completed
