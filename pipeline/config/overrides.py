"""From the command line to a checked configuration, with every fault reported at once.

Hydra stops at the first mistake and ends with status 1. Here each override is looked at alone, so that all faults are
reported together, each with the nearest valid name, before TensorFlow or MLflow is imported.
"""

import copy
import dataclasses
import difflib
import re
import shlex
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.hydra_files import (
    OwnFiles,
    compose_hydra,
    compose_overrides,
    groups,
    has_group,
    own_files,
    written,
    written_keys,
)
from pipeline.config.keys import as_typed, flatten, leaves
from pipeline.config.own_files import file_faults, hydra_faults, own_file
from pipeline.config.quoting import syntax_fault
from pipeline.config.schema import Config
from pipeline.config.sweep_values import Setting, interval_faults, values_of
from pipeline.config.validation import check, reason, typed
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import nearest, one_of


def checked_config(overrides: Sequence[str], base: Config | None = None) -> Config:
    """Compose, validate and return the configuration that the overrides ask for.

    Of a sweep (`model.depth=2,3 seed=0,1`) the first values are returned, and each further value is checked together
    with the first values of the other overrides. All other combinations, and what a sweeper draws from an interval, are
    checked when their run starts.

    Args:
        base: a stored configuration that the overrides change; None: the configuration of conf/.

    Raises:
        UserError: with every fault of every override, one line each, in the order of the overrides.
    """
    faults: list[str] = []
    files, keys = _settings(overrides, base, faults)
    files = _with_sound_files(files, base, faults)
    # Files first: they decide the values that keys change.
    composed, files = _compose_files(files, base, faults)
    if own_files() != OwnFiles() or any(_is_hydras(file.key) for file in files):
        faults += hydra_faults(compose_hydra([file.override(file.values[0]) for file in files], base))
    keys = _with_valid_types(keys, composed, faults)
    configs = [config for trial in _trials(composed, files, keys, base) if (config := _complete(trial, faults))]
    places = _places(files, keys)
    for config in configs:
        faults += [fault + places.get(_key(fault), "") for fault in check(config)]
    if faults:
        raise UserError(*_in_order(faults, overrides))
    return configs[0]


def _settings(overrides: Sequence[str], base: Config | None, faults: list[str]) -> tuple[list[Setting], list[Setting]]:
    """The overrides that choose a file of conf/ or are Hydra's own, and those that set a key; faults are added."""
    files: list[Setting] = []
    keys: list[Setting] = []
    parsed: list[Override] = []
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:
            key = text.partition("=")[0].strip("+~ ")
            faults.append((_unknown_key(key, text) if key else None) or syntax_fault(text))
            continue
        parsed.append(override)
        if fault := _name_fault(override) or (_group_fault(override, base) if base is not None else None):
            faults.append(fault)
        elif values := values_of(override):
            kind = files if _chooses_file(override.key_or_group) else keys
            kind.append(Setting(text, override.key_or_group, values, override.is_sweep_override()))
    faults += interval_faults(parsed)
    return files, keys


def _with_sound_files(files: list[Setting], base: Config | None, faults: list[str]) -> list[Setting]:
    """The settings that choose no file of the user's with faults; the faults are added.

    Raises:
        UserError: the file that Hydra starts from has faults, so nothing can be composed.
    """
    if own_files() == OwnFiles():
        return files
    primary = own_files().primary
    if base is None and (file := own_file(primary)) is not None:
        wrong = file_faults(primary)
        if not wrong and "config" not in map(str, OmegaConf.select(OmegaConf.load(file), "defaults") or []):
            wrong = [f"{file}: its defaults list does not start with config; 'defaults: [config, _self_]' expected"]
        if wrong:
            raise UserError(*faults, *wrong)
    sound = []
    for setting in files:
        wrong = []
        if not _is_hydras(setting.key):
            wrong = [fault for value in setting.values for fault in file_faults(f"{setting.key}/{value}", setting.key)]
        faults += wrong
        if not wrong:
            sound.append(setting)
    return sound


def _complete(composed: DictConfig, faults: list[str]) -> Config | None:
    """The typed configuration; None, and a fault for each, if keys have no value or one that cannot be resolved."""
    try:
        missing = sorted(OmegaConf.missing_keys(composed))
        if not missing:
            return typed(composed)
    except OmegaConfBaseException as error:
        faults.append(": ".join(part for part in (error.full_key, reason(error)) if part))
        return None
    group = missing[0].partition(".")[0]
    start = f"; a file of conf/{group}/ expected in the defaults list of its file" if group in groups() else ""
    faults.append(f"{', '.join(missing)}: no value{start}")
    return None


def _places(files: Sequence[Setting], keys: Sequence[Setting]) -> dict[str, str]:
    """{key: words} for the keys whose value is from a file of the user's."""
    names = [(own_files().primary, "")]
    names += [(f"{file.key}/{value}", file.key) for file in files for value in file.values if not _is_hydras(file.key)]
    found = {key: file for name, section in names for file, key, _ in written(name, section)}
    typed_keys = {setting.key for setting in keys}
    return {
        key: f" (in {file})"
        for key, file in found.items()
        if key not in typed_keys and any(file.is_relative_to(folder) for folder in own_files().folders)
    }


def _compose_files(files: list[Setting], base: Config | None, faults: list[str]) -> tuple[DictConfig, list[Setting]]:
    """The configuration before its keys are changed, and the settings that Hydra accepts; faults are added."""
    try:
        return _composed(files, base), files
    except (HydraException, OmegaConfBaseException):
        accepted: list[Setting] = []
        for file in files:
            try:
                _composed([*accepted, file], base)
                accepted.append(file)
            except (HydraException, OmegaConfBaseException) as error:
                faults.append(f"{file.text}: {reason(error)}")
        return _composed(accepted, base), accepted


def _composed(files: Sequence[Setting], base: Config | None) -> DictConfig:
    return compose_overrides([file.override(file.values[0]) for file in files], base)


def _with_valid_types(keys: Sequence[Setting], composed: DictConfig, faults: list[str]) -> list[Setting]:
    """The settings of which every value has its key's type; faults are added."""
    accepted = []
    for setting in keys:
        try:
            for value in setting.values:
                typed(_changed(composed, {setting.key: value}))
            accepted.append(setting)
        except OmegaConfBaseException as error:
            fault = reason(error)
            if setting.is_sweep and fault.startswith("a list expected"):
                value = setting.text.partition("=")[2]
                fault = f"a list expected; type {shlex.quote(f'{setting.key}=[{value}]')}"
            faults.append(f"{setting.text}: {fault}")
    return accepted


def _trials(
    composed: DictConfig, files: Sequence[Setting], keys: Sequence[Setting], base: Config | None
) -> Iterator[DictConfig]:
    """The configuration of all first values, then one for each further value of a setting.

    Args:
        composed: the first values of `files`.
    """
    first_values = {setting.key: setting.values[0] for setting in keys}
    first = _changed(composed, first_values)
    yield first
    for setting in keys:
        for value in setting.values[1:]:
            yield _changed(first, {setting.key: value})
    for swept in files:
        for value in swept.values[1:]:
            chosen = [file.override(value if file is swept else file.values[0]) for file in files]
            yield _changed(compose_overrides(chosen, base), first_values)


def _changed(config: DictConfig, settings: dict[str, Any]) -> DictConfig:
    """A copy with these values, {dotted key: value}."""
    changed = copy.deepcopy(config)
    for key, value in settings.items():
        OmegaConf.update(changed, key, value, merge=True)
    return changed


def _in_order(faults: Sequence[str], overrides: Sequence[str]) -> list[str]:
    """The faults, each once, in the order of the overrides that they are of; those of no override come last."""
    given = [_key(text) for text in overrides]
    places = {key: place for place, key in reversed(list(enumerate(given)))}
    return sorted(dict.fromkeys(faults), key=lambda fault: places.get(_key(fault), len(given)))


def _key(text: str) -> str:
    """The key that an override, or a fault, starts with."""
    return re.sub(r"^[+~]*([\w./]*).*", r"\1", text, flags=re.DOTALL)


def _chooses_file(key: str) -> bool:
    return key in groups() or _is_hydras(key)


def _is_hydras(key: str) -> bool:
    return key == "hydra" or key.startswith(("hydra.", "hydra/"))


def _name_fault(override: Override) -> str | None:
    """The fault of an override whose key, or whose choice of a group, does not exist; else None."""
    text, key = str(override.input_line), override.key_or_group
    if _is_hydras(key):
        return None
    choices = groups()
    if override.is_delete():
        return f"{text}: a key cannot be removed; set it to another value, or to null where --help allows it"
    if (fault := _unknown_key(key, text)) is not None:
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


def _unknown_key(key: str, text: str) -> str | None:
    """The fault of an override whose key does not exist; else None."""
    choices, keys = groups(), [name for name, _, _ in leaves(Config)]
    sections = [item.name for item in dataclasses.fields(Config) if dataclasses.is_dataclass(item.type)]
    if _is_hydras(key) or key in {*choices, *sections, "dataset.splits", *keys}:
        return None
    return f"{text}: unknown key '{key}'{_nearest_key(key, [*keys, *choices])}"


def _group_fault(override: Override, base: Config) -> str | None:
    """The fault of choosing a file of conf/ for a stored configuration, which has keys only; else None.

    It names the keys to type instead: those that the file sets, and those that `base` has otherwise than conf/.
    """
    group, values = override.key_or_group, values_of(override)
    if group not in groups() or group == "sweep":  # the sweep that a run belonged to is not for the next one
        return None
    composed, stored = (
        flatten(typed(compose_overrides([f"{'+' * override.is_add()}{group}={values[0]}"]))),
        flatten(base),
    )
    written = set(written_keys(group, str(values[0])))
    sections = {key.partition(".")[0] for key in written}
    keys = [
        shlex.quote(f"{key}={as_typed(value)}")
        for key, value in composed.items()
        if key in written or (key.partition(".")[0] in sections and value != stored[key])
    ]
    return (
        f"{override.input_line}: a stored configuration has keys, not the files of conf/ that set them; "
        f"type {' '.join(keys)}"
    )


def _nearest_key(key: str, known: list[str]) -> str:
    """The known key most like this one: as a whole, by its last part (`width`), or by initials (`lr`)."""
    if whole := nearest(key, known):
        return whole
    last = {name.rpartition(".")[2]: name for name in known}
    last |= {"".join(word[0] for word in part.split("_")): name for part, name in last.items() if "_" in part}
    close = difflib.get_close_matches(key.rpartition(".")[2], last, n=1, cutoff=0.6)
    return f" (did you mean '{last[close[0]]}'?)" if close else " (see --help)"
