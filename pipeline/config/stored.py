"""A configuration stored with a run becomes a checked one again, without TensorFlow, resolvers or code."""

from pathlib import Path

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.schema import Config
from pipeline.config.validation import checked
from pipeline.runtime.errors import UserError

LARGEST = 2**20  # bytes: reading YAML takes a minute for every ten millions


def read_config(path: Path) -> Config:
    """A configuration from a file; see `parse_config`.

    Raises:
        UserError: it cannot be read, or is no such configuration.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"more than {LARGEST} bytes")
        return parse_config(path.read_text(encoding="utf-8"), str(path))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a stored configuration: {error}") from error


def parse_config(text: str, origin: str) -> Config:
    """Plain values in YAML that pass the schema like ones typed by hand.

    Args:
        origin: where they are from, for messages.

    Raises:
        UserError: it is no such configuration; also where it holds an interpolation (`${…}`), which a stored
            configuration never has and which could read this machine's environment.
    """
    try:
        stored = yaml.safe_load(text) if _is_plain(text) else None
        # Looked for in the values, since YAML can write the two characters as escapes.
        if not isinstance(stored, dict) or "${" in str(stored):
            raise UserError(
                f"{origin}: is not a stored configuration: plain keys and values expected, no '${{', type or alias"
            )
        composed = OmegaConf.create(stored)
        if missing := sorted(OmegaConf.missing_keys(composed)):  # the schema's default would take their place
            raise UserError(*(f"{origin}: {key} has no value" for key in missing))
    except (ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        told = " ".join(str(error).split())
        raise UserError(f"{origin}: cannot be read as a stored configuration: {told}") from error
    try:
        return checked(composed)
    except UserError as error:
        raise UserError(*(f"{origin}: {fault}" for fault in error.faults)) from error


def _is_plain(text: str) -> bool:
    """Whether YAML is without types (`!!…`), and without what fills memory from few bytes: aliases, deep nesting."""
    depth = 0
    for event in yaml.parse(text):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > 9 or isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
            return False
    return True
