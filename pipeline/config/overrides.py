"""From the command line to a checked configuration, with every fault reported at once.

Hydra stops at the first mistake and ends with status 1. Here each override is looked at alone, so that all faults are
reported together, each with the nearest valid name, before TensorFlow or MLflow is imported.
"""

import copy
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.checks import check_addresses, check_folders
from pipeline.config.hydra_files import (
    OwnFiles,
    compose_hydra,
    compose_overrides,
    groups,
    own_files,
    written,
)
from pipeline.config.override_names import chooses_file, group_fault, is_hydras, name_fault, unknown_key
from pipeline.config.own_files import file_faults, hydra_faults, own_file
from pipeline.config.quoting import syntax_fault
from pipeline.config.schema import Config
from pipeline.config.sweep_values import Setting, interval_faults, values_of
from pipeline.config.validation import UNFIT, as_objects, check, key_and_reason, reason, typed
from pipeline.runtime.errors import UserError


def checked_config(overrides: Sequence[str], base: Config | None = None, *, addresses: bool = True) -> Config:
    """Compose, validate and return the configuration that the overrides ask for.

    Of a sweep (`model.depth=2,3 seed=0,1`) the first values are returned, and each further value is checked together
    with the first values of the other overrides. All other combinations, and what a sweeper draws from an interval, are
    checked when their run starts.

    Args:
        base: a stored configuration that the overrides change; None: the configuration of conf/.
        addresses: False for a command that does not use where the configuration stores runs and studies.

    Raises:
        UserError: with every fault of every override, one line each, in the order of the overrides.
    """
    faults: list[str] = []
    files, keys = _settings(overrides, base, faults)
    files = _with_sound_files(files, base, faults)
    # Files first: they decide the values that keys change.
    composed, files = _compose_files(files, base, faults)
    if own_files() != OwnFiles() or any(is_hydras(file.key) for file in files):
        for chosen in [[file.override(file.values[0]) for file in files], *_further_choices(files)]:
            faults += hydra_faults(compose_hydra(chosen, base))
    keys = _with_valid_types(keys, composed, faults)
    configs = [config for trial in _trials(composed, files, keys, base) if (config := _complete(trial, faults))]
    places = _places(files, keys)
    for config in configs:
        found = [*check(config), *check_folders(config), *(check_addresses(config) if addresses else ())]
        faults += [fault + places.get(_key(fault), "") for fault in found]
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
            faults.append((unknown_key(key, text) if key else None) or syntax_fault(text))
            continue
        except ValueError:  # Python reads no longer ones
            key = text.partition("=")[0]
            faults.append(f"{key}: a number of more than {sys.get_int_max_str_digits()} digits; a shorter one expected")
            continue
        parsed.append(override)
        if fault := name_fault(override) or (group_fault(override, base) if base is not None else None):
            faults.append(fault)
        elif values := values_of(override):
            kind = files if chooses_file(override.key_or_group) else keys
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
        if not is_hydras(setting.key):
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
    except UNFIT as error:
        faults.append(key_and_reason(error))
        return None
    except UserError as error:
        faults += error.faults
        return None
    group = missing[0].partition(".")[0]
    start = f"; a file of conf/{group}/ expected in the defaults list of its file" if group in groups() else ""
    faults.append(f"{', '.join(missing)}: no value{start}")
    return None


def _places(files: Sequence[Setting], keys: Sequence[Setting]) -> dict[str, str]:
    """{key: words} for the keys whose value is from a file of the user's."""
    if not own_files().folders:
        return {}
    names = [(own_files().primary, "")]
    names += [(f"{file.key}/{value}", file.key) for file in files for value in file.values if not is_hydras(file.key)]
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
                as_objects(_changed(composed, {setting.key: value}))
            accepted.append(setting)
        except UNFIT as error:
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
    for chosen in _further_choices(files):
        yield _changed(compose_overrides(chosen, base), first_values)


def _further_choices(files: Sequence[Setting]) -> Iterator[list[str]]:
    """The overrides that choose each further value of a setting, together with the first values of the others."""
    for swept in files:
        for value in swept.values[1:]:
            yield [file.override(value if file is swept else file.values[0]) for file in files]


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
