"""The keys of a configuration by their dotted names, and their allowed values in words."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from omegaconf import ListConfig

from pipeline.config.schema import Config
from pipeline.runtime.text import one_of


def leaves(config: Any, prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Every leaf of a configuration, or of its class, as (dotted key, dataclass field, value).

    A class has no values yet: its leaves come with the field's default.
    """
    for item in dataclasses.fields(config):
        name = prefix + item.name
        if dataclasses.is_dataclass(item.type):
            yield from leaves(item.type if isinstance(config, type) else getattr(config, item.name), name + ".")
        else:
            yield name, item, item.default if isinstance(config, type) else getattr(config, item.name)


def flatten(config: Config) -> dict[str, Any]:
    """The configuration as {dotted key: value}, in the order of the schema."""
    return {name: value for name, _, value in leaves(config)}


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """{key: its last part}, `width` for `model.width`, or as many parts as distinguish it from the other keys."""
    names = {}
    for key in keys:
        parts = key.lstrip("+").split(".")
        for count in range(1, len(parts) + 1):
            name = ".".join(parts[-count:])
            if sum(("." + other.lstrip("+")).endswith("." + name) for other in keys) == 1:
                break
        names[key] = name
    return names


def allowed(metadata: Mapping[str, Any]) -> str:
    """The allowed values of a key in words: its choices, its bounds, or both; empty if every value of its type is."""
    bounds = {"at least": "least", "more than": "above", "at most": "most", "less than": "below"}
    limits = [f"{words} {metadata[bound]}" for words, bound in bounds.items() if metadata[bound] is not None]
    return " or ".join(part for part in (one_of(metadata["choices"]), " and ".join(limits)) if part)


def as_typed(value: Any) -> str:
    """A value as a person types it on the command line."""
    if value is None:
        return "null"
    if isinstance(value, ListConfig | list):
        return f"[{','.join(map(as_typed, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)
