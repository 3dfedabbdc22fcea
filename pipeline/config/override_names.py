"""Whether the names in an override exist: its key, its group, and the choice of a file; if not, the nearest ones."""

import dataclasses
import difflib
import shlex
from collections.abc import Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from pipeline.config.hydra_files import compose_overrides, groups, has_group, written, written_keys
from pipeline.config.keys import as_typed, flatten, leaves
from pipeline.config.schema import Config
from pipeline.config.sweep_values import values_of
from pipeline.config.validation import typed
from pipeline.runtime.text import nearest, one_of


def chooses_file(key: str) -> bool:
    """Whether an override of this key chooses a file of conf/, or is Hydra's own."""
    return key in groups() or is_hydras(key)


def is_hydras(key: str) -> bool:
    """Whether a key belongs to Hydra's own settings."""
    return key == "hydra" or key.startswith(("hydra.", "hydra/"))


def name_fault(override: Override) -> str | None:
    """The fault of an override whose key, or whose choice of a group, does not exist; else None."""
    text, key = str(override.input_line), override.key_or_group
    if is_hydras(key):
        return None
    choices = groups()
    if override.is_delete():
        return f"{text}: a key cannot be removed; set it to another value, or to null where --help allows it"
    if (fault := unknown_key(key, text)) is not None:
        return fault
    if key in choices and not has_group(key) and not override.is_add():
        return f"{text}: '{key}' is a group of your own, which conf/config.yaml does not choose from; +{text} expected"
    if override.is_add() and (key not in choices or has_group(key)):
        return f"{text}: '{key}' exists already; {text.lstrip('+')} expected"
    if key in choices:
        values = values_of(override)
        wrong = [value for value in values if value not in choices[key]]
        if wrong or not values:
            value = wrong[0] if len(values) > 1 else text.partition("=")[2]
            return f"{key}={value}: {one_of(choices[key])} expected{nearest(str(value), choices[key])}"
    return None


def unknown_key(key: str, text: str) -> str | None:
    """The fault of an override whose key does not exist; else None."""
    choices, keys = groups(), [name for name, _, _ in leaves(Config)]
    sections = [item.name for item in dataclasses.fields(Config) if dataclasses.is_dataclass(item.type)]
    if is_hydras(key) or key in {*choices, *sections, "dataset.splits", *keys}:
        return None
    return f"{text}: unknown key '{key}'{_nearest_key(key, [*keys, *choices])}"


def group_fault(override: Override, base: Config) -> str | None:
    """The fault of choosing a file of conf/ for a stored configuration, which has keys only; else None.

    It names the keys to type instead: those that the file sets, and those of their sections that `base` has otherwise
    than conf/. A file of debug/ changes single keys of a run, whatever the others are.
    """
    group, values = override.key_or_group, values_of(override)
    if group not in groups() or group == "sweep":  # the sweep that a run belonged to is not for the next one
        return None
    composed, stored = (
        flatten(typed(compose_overrides([f"{'+' * override.is_add()}{group}={values[0]}"]))),
        flatten(base),
    )
    set_there = set(written_keys(group, str(values[0])))
    sections = set() if group == "debug" else {key.partition(".")[0] for key in set_there}
    keys = [
        shlex.quote(f"{key}={as_typed(value)}")
        for key, value in composed.items()
        if key in set_there or (key.partition(".")[0] in sections and value != stored[key])
    ]
    return (
        f"{override.input_line}: a stored configuration has keys, not the files of conf/ that set them; "
        f"type {' '.join(keys)}"
    )


def kept_keys(overrides: Sequence[str]) -> list[str]:
    """A note for each group that is chosen next to an experiment whose own keys of that section stay.

    Hydra replaces the experiment's choice of a file; the single keys that the experiment sets come after all files.
    """
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    chosen = {override.key_or_group: override.get_value_element_as_str() for override in parsed}
    experiment = chosen.get("experiment", "null")
    set_there = {
        key: value
        for file, key, value in written(f"experiment/{experiment}")
        if file.parent.name == "experiment" and key not in chosen
    }
    notes = []
    for group in groups():
        kept = [f"{key}={as_typed(value)}" for key, value in set_there.items() if key.startswith(f"{group}.")]
        if group in chosen and kept:
            notes.append(f"{group}={chosen[group]}: experiment={experiment} sets {' '.join(kept)}, which stays")
    return notes


def _nearest_key(key: str, known: list[str]) -> str:
    """The known key most like this one: as a whole, by its last part (`width`), or by initials (`lr`)."""
    if whole := nearest(key, known):
        return whole
    last = {name.rpartition(".")[2]: name for name in known}
    last |= {"".join(word[0] for word in part.split("_")): name for part, name in last.items() if "_" in part}
    close = difflib.get_close_matches(key.rpartition(".")[2], last, n=1, cutoff=0.6)
    return f" (did you mean '{last[close[0]]}'?)" if close else " (see --help)"
