"""From the command line to a checked configuration, every fault at once.

Hydra stops at the first mistake and ends with status 1; here each override is looked at alone, so that all faults are
reported together with the nearest valid name, before TensorFlow or MLflow is imported.
"""

import copy
import dataclasses
import difflib
import re
import shlex
from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.hydra_files import compose_overrides, groups, written_keys
from pipeline.config.keys import as_typed, flatten, leaves
from pipeline.config.schema import Config
from pipeline.config.sweep_values import Values, interval_faults, values_of
from pipeline.config.validation import check, reason, typed
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import nearest, one_of


def checked_config(overrides: Sequence[str], base: Config | None = None) -> Config:
    """Compose, validate and return the configuration that the overrides ask for.

    Of a sweep (`model.depth=2,3 seed=0,1`) the first values are returned, and each further value is checked beside the
    first ones of the rest. Their combinations, and what a sweeper draws from an interval, are checked when their run
    starts.

    Args:
        base: a stored configuration that the overrides change; None: that of conf/.

    Raises:
        UserError: with every fault of every override, one line each, in the order of the overrides.
    """
    faults: list[str] = []
    files: list[Values] = []  # overrides that choose a file of conf/, or are Hydra's own
    keys: list[Values] = []
    parsed: list[Override] = []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            faults.append(_unparsable(text))
            continue
        parsed.append(override)
        if fault := _unknown(override) or (_group_of_stored(override, base) if base is not None else None):
            faults.append(fault)
        else:
            kind = files if _chooses_file(override.key_or_group) else keys
            kind.append(Values(text, override.key_or_group, values_of(override), override.is_sweep_override()))
    faults += interval_faults(parsed)

    # Files first: they decide the value that a key starts from.
    chosen_files, files = _compose_files([file for file in files if file.values], faults, base)
    accepted = []
    for setting in keys:
        try:
            for value in setting.values:
                typed(_changed(chosen_files, {setting.key: value}))
            accepted.append(setting)
        except OmegaConfBaseException as error:
            faults.append(f"{setting.text}: {reason(error)}")

    first = {setting.key: setting.values[0] for setting in accepted if setting.values}
    chosen = _changed(chosen_files, first)
    trials = [chosen]
    trials += [_changed(chosen, {setting.key: value}) for setting in accepted for value in setting.values[1:]]
    trials += [
        _changed(
            compose_overrides([file.single(value if file is swept else file.values[0]) for file in files], base), first
        )
        for swept in files
        for value in swept.values[1:]
    ]
    configs = [typed(trial) for trial in trials]
    faults += [fault for config in configs for fault in check(config)]
    if faults:
        given = [_key(text) for text in overrides]
        order = {key: place for place, key in reversed(list(enumerate(given)))}
        raise UserError(*sorted(dict.fromkeys(faults), key=lambda fault: order.get(_key(fault), len(given))))
    return configs[0]


def _chooses_file(key: str) -> bool:
    return key in groups() or key == "hydra" or key.startswith(("hydra.", "hydra/"))


def _compose_files(files: list[Values], faults: list[str], base: Config | None) -> tuple[DictConfig, list[Values]]:
    """The configuration before its keys are changed, and the overrides in it: those that Hydra refuses are told."""

    def composed(files: list[Values]) -> DictConfig:
        return compose_overrides([file.single(file.values[0]) for file in files], base)

    try:
        return composed(files), files
    except (HydraException, OmegaConfBaseException):
        good: list[Values] = []
        for file in files:
            try:
                composed([*good, file])
                good.append(file)
            except (HydraException, OmegaConfBaseException) as error:
                faults.append(f"{file.text}: {reason(error)}")
        return composed(good), good


def _changed(config: DictConfig, settings: dict[str, Any]) -> DictConfig:
    changed = copy.deepcopy(config)
    for key, value in settings.items():
        OmegaConf.update(changed, key, value, merge=True)
    return changed


def _unparsable(text: str) -> str:
    key, equals, value = text.partition("=")
    if value.startswith("[") and "]" not in value:
        return f"{text}: a list is written without spaces, and quoted for the shell: '{key}=[a,b]'"
    if equals and key and '"' not in value:
        return f"{text}: a value with special characters is quoted, twice for the shell: '{key}=\"{value}\"'"
    return f"{text}: key=value expected"


def _unknown(override: Override) -> str | None:
    """The fault of an override whose key, or choice of a group, does not exist."""
    text, key = str(override.input_line), override.key_or_group
    if key == "hydra" or key.startswith(("hydra.", "hydra/")):
        return None
    choices = groups()
    sections = [item.name for item in dataclasses.fields(Config) if dataclasses.is_dataclass(item.type)]
    keys = [name for name, _, _ in leaves(Config)]
    if override.is_delete():
        return f"{text}: no key can be taken away; set it to another value, or null where --help allows it"
    if key not in {*choices, *sections, "dataset.splits", *keys}:
        return f"{text}: unknown key '{key}'{_nearest_key(key, [*keys, *choices])}"
    if override.is_add():
        return f"{text}: '{key}' is there already; write {text.lstrip('+')}"
    if key in choices:
        values = values_of(override)
        wrong = [value for value in values if value not in choices[key]]
        if wrong or not values:
            value = wrong[0] if len(values) > 1 else text.partition("=")[2]
            return f"{key}={value}: {one_of(choices[key])} expected{nearest(str(value), choices[key])}"
    return None


def _group_of_stored(override: Override, base: Config) -> str | None:
    """The fault of choosing a group's file where a stored configuration, which has none, is the base.

    What is to be typed instead gives the values of the file, also where the file leaves a key as conf/ has it.
    """
    group, values = override.key_or_group, values_of(override)
    if group not in groups() or group == "sweep":  # which sweep it is in is no part of what a run stored
        return None
    composed, stored = flatten(typed(compose_overrides([f"{group}={values[0]}"]))), flatten(base)
    written = set(written_keys(group, str(values[0])))
    sections = {key.partition(".")[0] for key in written}
    keys = [
        shlex.quote(f"{key}={as_typed(value)}")
        for key, value in composed.items()
        if key in written or (key.partition(".")[0] in sections and value != stored[key])
    ]
    return (
        f"{override.input_line}: a stored configuration has keys, not the files of conf/ that they came from; "
        f"type {' '.join(keys)}"
    )


def _nearest_key(key: str, known: list[str]) -> str:
    """The known key most like this one, in its whole, in its last part (`width`) or in its initials (`lr`)."""
    if whole := nearest(key, known):
        return whole
    last = {name.rpartition(".")[2]: name for name in known}
    last |= {"".join(word[0] for word in part.split("_")): name for part, name in last.items() if "_" in part}
    close = difflib.get_close_matches(key.rpartition(".")[2], last, n=1, cutoff=0.6)
    return f" (did you mean '{last[close[0]]}'?)" if close else " (see --help)"


def _key(text: str) -> str:
    """The key that an override, or a fault, starts with."""
    return re.sub(r"^[+~]*([\w./]*).*", r"\1", text, flags=re.DOTALL)
