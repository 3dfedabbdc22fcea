"""Configurations and keys that several tests share."""

import dataclasses
from typing import Any

from pipeline.config.keys import leaves
from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config

DEFAULT = checked_config([])
KEYS = [name for name, _, _ in leaves(Config)]  # of every leaf, dotted


def config_with(**values: Any) -> Config:
    """The default configuration with `model__depth=3` for model.depth=3."""
    changed = DEFAULT
    for name, value in values.items():
        section, _, key = name.rpartition("__")
        if section:
            value = dataclasses.replace(getattr(changed, section), **{key: value})
        changed = dataclasses.replace(changed, **{section or key: value})
    return changed
