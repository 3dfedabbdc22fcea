"""A user's own YAML files: Hydra's flags and keys for them, and what they say, checked like the command line."""

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.config.hydra_files import CONF, PRIMARY, SWEEPERS, OwnFiles, own_files, written
from pipeline.config.keys import as_typed, leaves
from pipeline.config.schema import Config
from pipeline.config.validation import UNFIT, reason
from pipeline.runtime.text import nearest, plain

SEARCHPATH = "hydra.searchpath"
BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
# Hydra's settings that cannot work here: the values that can, and what to do instead.
REFUSED: dict[str, tuple[tuple[Any, ...], str]] = {
    "job.chdir": (
        (None, False),
        "a configuration's paths belong to the current directory, which would change; change it before: cd <folder>",
    ),
    "output_subdir": (
        (None,),
        "Hydra would write passwords of addresses there; a run stores its configuration in MLflow, in config/",
    ),
    "mode": ((None,), "decided by the flag: -m before the overrides starts a sweep, without it one run is made"),
    "callbacks": (({},), "a configuration calls no code; results of runs are in MLflow, and run.py ends with a status"),
    "sweeper._target_": (
        (*(node["_target_"] for node in SWEEPERS.values()), BASIC_SWEEPER),
        "a configuration calls no code; hydra/sweeper=grid, optuna or basic expected",
    ),
}
LAUNCHERS = ("hydra._internal.core_plugins.", "hydra_plugins.")  # start the names of classes


def flag_faults(flags: argparse.Namespace, stored: bool) -> list[str]:
    """The faults of flags that choose other files than those of conf/.

    Args:
        stored: whether the configuration is that of a stored run.
    """
    faults = []
    if flags.experimental_rerun is not None:
        faults.append(
            f"--experimental-rerun={flags.experimental_rerun}: reads a pickle, which may run any code; "
            "rerun=<run id> repeats a run"
        )
    if flags.config_path is not None:
        faults.append(
            f"--config-path={flags.config_path}: would replace conf/, which every configuration is composed of; "
            f"--config-dir={flags.config_path} adds a folder to it"
        )
    if flags.config_name is not None and stored:
        faults.append(f"--config-name={flags.config_name}: rerun= and resume= start from the run's configuration")
    return faults


def find_own_files(flags: argparse.Namespace) -> tuple[OwnFiles, list[str]]:
    """The user's folders and primary file that the command line names, and the faults of those."""
    faults: list[str] = []
    folders = [] if flags.config_dir is None else [(f"--config-dir={flags.config_dir}", str(flags.config_dir))]
    primary = (flags.config_name or PRIMARY).removesuffix(".yaml")
    named = _typed_searchpath(flags.overrides)
    if (
        named is None
        and flags.config_dir is not None
        and (file := Path(flags.config_dir) / f"{primary}.yaml").is_file()
    ):
        named = _written_searchpath(file)
    folders += [(f"{SEARCHPATH}={folder}", str(folder)) for folder in named or []]
    found = []
    for text, folder in folders:
        place = Path(os.path.abspath(folder.removeprefix("file://")))
        if folder.startswith("pkg://") or not place.is_dir():
            faults.append(f"{text}: folder not found; a folder of YAML files expected, such as /my/conf")
        else:
            found.append(place)
            faults += _hidden_faults(place)
    own = OwnFiles(tuple(dict.fromkeys(found)), primary)
    places = (CONF, *own.folders[: flags.config_dir is not None])  # where Hydra looks for it
    if not any((place / f"{primary}.yaml").is_file() for place in places):
        choices = sorted(file.stem for place in places for file in place.glob("*.yaml"))
        faults.append(f"--config-name={primary}: not found in {', '.join(map(str, places))}{nearest(primary, choices)}")
        own = OwnFiles(own.folders)
    return own, faults


def _typed_searchpath(overrides: Sequence[str]) -> list[str] | None:
    for text in reversed(overrides):
        if text.lstrip("+").startswith(f"{SEARCHPATH}="):
            try:
                value = OverridesParser.create().parse_override(text).value()
            except HydraException:  # reported with the other overrides
                return None
            return [str(folder) for folder in (value if isinstance(value, list) else [value])]
    return None


def _written_searchpath(file: Path) -> list[str] | None:
    try:
        value = OmegaConf.select(OmegaConf.load(file), SEARCHPATH)
    except (yaml.YAMLError, OmegaConfBaseException, ValueError, OSError):
        return None  # reported with what else is wrong with the file
    return None if value is None else [str(folder) for folder in value]


def _hidden_faults(place: Path) -> Iterator[str]:
    """Files of the same name as one of conf/, which Hydra would not read; and endings that it does not read."""
    for file in sorted(place.glob("*/*.y*ml")):
        relative = file.relative_to(place)
        if file.suffix == ".yaml" and (CONF / relative).is_file():
            yield f"{file}: conf/{relative} has the same name, and would be used; give it another name"
        if file.suffix == ".yml":
            yield f"{file}: Hydra reads .yaml only; rename it to {file.stem}.yaml"


def file_faults(name: str, section: str = "") -> list[str]:
    """The faults of a user's file and of those in its defaults list: unknown keys, and values of another type.

    Args:
        name, section: see `pipeline.config.hydra_files.written`.
    """
    keys = [key for key, _, _ in leaves(Config)]
    faults = []
    try:
        for file, key, value in written(name, section):
            if file.is_relative_to(CONF) or key.partition(".")[0] == "hydra":
                continue
            if key not in keys:
                inner = key.removeprefix(f"{section}.")
                hint = "; its first line has to be: # @package _global_" if inner != key and inner in keys else ""
                faults.append(f"{file}: unknown key '{plain(key)}'{nearest(key, keys)}{hint}")
            elif fault := _type_fault(key, value):
                faults.append(f"{file}: {key}={plain(as_typed(value))}: {fault}")
    except yaml.YAMLError as error:
        faults.append(f"{own_file(name) or name}: cannot be read as YAML: {' '.join(str(error).split())}")
    except (OmegaConfBaseException, AssertionError, ValueError) as error:
        faults.append(f"{own_file(name) or name}: cannot be read: {reason(error) or 'keys with values expected'}")
    return faults


def _type_fault(key: str, value: Any) -> str | None:
    if "${" in str(value):  # its value is known when all is composed
        return None
    try:
        OmegaConf.update(OmegaConf.structured(Config), key, value, merge=True)
    except UNFIT as error:
        return reason(error)
    return None


def own_file(name: str) -> Path | None:
    """The user's file of this name, without its suffix; None if it is one of conf/ or missing."""
    found = (folder / f"{name}.yaml" for folder in own_files().folders)
    return None if (CONF / f"{name}.yaml").is_file() else next((file for file in found if file.is_file()), None)


def hydra_faults(hydra: DictConfig) -> list[str]:
    """Hydra's settings that cannot work here, whether they were typed or are in a file."""
    faults = []
    for key, (allowed, instead) in REFUSED.items():
        value = OmegaConf.select(hydra, key)
        plainly = OmegaConf.to_container(value) if OmegaConf.is_config(value) else getattr(value, "name", value)
        if plainly not in allowed:
            faults.append(f"hydra.{key}={plain(as_typed(plainly))}: {instead}")
    launcher = str(OmegaConf.select(hydra, "launcher._target_"))
    if not launcher.startswith(LAUNCHERS):
        faults.append(
            f"hydra.launcher._target_={plain(launcher)}: a configuration calls no code; hydra/launcher=… expected"
        )
    return faults
