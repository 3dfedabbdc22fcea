"""The files of conf/, and how Hydra gets to know them and the schema."""

import copy
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from pipeline.config.schema import Config
from pipeline.runtime.files import ROOT

CONF = ROOT / "conf"
PRIMARY = "config"  # the file of conf/ that Hydra starts from
# What `hydra.sweeper` holds. The classes are registered when a sweep starts (`pipeline.sweep.plugins`).
SWEEPERS: dict[str, dict[str, Any]] = {
    "grid": {"_target_": "hydra_plugins.segmentation_pipeline.GridSweeper"},
    "optuna": {"_target_": "hydra_plugins.segmentation_pipeline.OptunaSweeper", "n_trials": 20},
}


@dataclass(frozen=True)
class OwnFiles:
    """The files of a user that are composed with those of conf/ (`pipeline.config.own_files`)."""

    folders: tuple[Path, ...] = ()  # searched after conf/
    primary: str = PRIMARY  # the file that Hydra starts from


_own = OwnFiles()  # of this process, like all that Hydra registers


def use_own_files(own: OwnFiles) -> None:
    """From here on, compose a user's files as well, as they are now."""
    global _own
    _own = own
    _groups.cache_clear()


def own_files() -> OwnFiles:
    """The user's files that are composed in this process."""
    return _own


def register(base: Config | None = None) -> str:
    """Register the typed schema with Hydra, and with it a stored configuration, if that is the base.

    Returns:
        The name of the configuration that Hydra starts from.
    """
    Plugins.instance()  # installed launchers register configurations of their own, which those of conf/ replace
    store = ConfigStore.instance()
    launchers = store.repo["hydra"]["launcher"]
    for name in set(launchers) - {"basic.yaml"}:
        del launchers[name]
    store.store(name="schema", node=Config)
    for name, node in SWEEPERS.items():
        store.store(group="hydra/sweeper", name=name, node=node)
    if base is None:
        return _own.primary
    # Hydra's own settings, such as where its folders are, come from this machine, never from the run.
    own = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))["hydra"]  # type: ignore[call-overload,index]
    values = OmegaConf.to_container(OmegaConf.structured(base))
    assert isinstance(values, dict)
    # The sweep that a stored trial belonged to is not for the next one.
    store.store(name="stored", node={"defaults": ["schema", "_self_", {"sweep": "grid"}], **values, "hydra": own})
    return "stored"


def groups() -> dict[str, list[str]]:
    """The configuration groups of conf/ and of the user's folders, and their choices, {group: [choice, …]}.

    They are looked up once for a command, since every override asks for them.
    """
    return _groups((CONF, *_own.folders))


@functools.cache
def _groups(places: tuple[Path, ...]) -> dict[str, list[str]]:
    found: dict[str, set[str]] = {}
    for place in places:
        for folder in sorted(place.iterdir()):
            files = [file.relative_to(folder) for file in folder.rglob("*.yaml")] if folder.is_dir() else []
            if files and folder.name != "hydra" and not folder.name.startswith("."):
                found.setdefault(folder.name, set()).update(file.with_suffix("").as_posix() for file in files)
    return {group: sorted(choices) for group, choices in found.items()}


def has_group(group: str) -> bool:
    """Whether conf/ has a group, so that `group=choice` replaces its choice; to any other, `+group=choice` is added."""
    return (CONF / group).is_dir()


def compose_overrides(overrides: Sequence[str], base: Config | None = None) -> DictConfig:
    """The configuration of conf/, or a stored one, with these overrides, typed by the schema but not checked.

    A process reads a folder conf/ once for the same overrides: Hydra takes a fifth of a second to compose.
    """
    if base is not None:
        return _compose(CONF, tuple(overrides), register(base))
    return copy.deepcopy(_compose_conf(CONF, _own, tuple(overrides)))


def compose_hydra(overrides: Sequence[str], base: Config | None = None) -> DictConfig:
    """Hydra's own part of the configuration, `hydra`, as `compose_overrides` composes the other."""
    composed = _compose(CONF, tuple(overrides), register(base), with_hydra=True)
    hydra = composed.hydra
    assert isinstance(hydra, DictConfig)
    return hydra


@functools.cache
def _compose_conf(conf: Path, own: OwnFiles, overrides: tuple[str, ...]) -> DictConfig:
    return _compose(conf, overrides, register())


def _compose(conf: Path, overrides: tuple[str, ...], name: str, with_hydra: bool = False) -> DictConfig:
    given = [override for override in overrides if not override.lstrip("+").startswith("hydra.searchpath=")]
    with initialize_config_dir(config_dir=str(conf), version_base="1.3", job_name="run"):
        if _own.folders:  # searched after conf/, as Hydra does with --config-dir
            search_path = create_config_search_path(str(conf))
            for folder in _own.folders:
                search_path.prepend("command-line", f"file://{folder}", SearchPathQuery(provider="schema"))
            GlobalHydra.instance().clear()
            Hydra.create_main_hydra2("run", search_path)
        return compose(name, overrides=given, return_hydra_config=with_hydra)


def written_keys(group: str, choice: str) -> Iterator[str]:
    """The keys that choosing a file sets: its own, and those of the files in its defaults list."""
    yield from (key for _, key, _ in written(f"{group}/{choice}", group))


def written(name: str, section: str = "") -> Iterator[tuple[Path, str, Any]]:
    """(file, key, value) of all that a file and those in its defaults list set.

    Args:
        name: of a file in conf/ or in the user's folders, without its suffix.
        section: that its keys belong to, unless it names another package; "" for the whole configuration.

    Raises:
        YAMLError, OmegaConfBaseException: a file cannot be read.
    """
    file = next((found for place in (CONF, *_own.folders) if (found := place / f"{name}.yaml").is_file()), None)
    if file is None:  # which Hydra reports
        return
    content = OmegaConf.load(file)
    assert isinstance(content, DictConfig)
    if package := re.search(r"^#\s*@package\s+(\S+)", file.read_text(encoding="utf-8"), re.MULTILINE):
        section = {"_global_": "", "_group_": section}.get(package[1], package[1])
    for entry in content.pop("defaults", []):
        if isinstance(entry, str):  # a file of the same section: `voc2012`, `/pretrained_unet@_here_`
            other = entry.removesuffix("@_here_")
            if other not in ("_self_", "schema"):
                yield from written(other[1:] if other[0] == "/" else str(Path(name).with_name(other)), section)
        else:  # a choice of another group: {"override /model": "unet"}
            for chosen, choice in entry.items():
                group = chosen.removeprefix("override ").removeprefix("/")
                if group in groups() and choice is not None:
                    yield from written(f"{group}/{choice}", group)
    for key, value in _leaves(content, section):
        yield file, key, value


def _leaves(content: DictConfig, prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in content.items_ex(resolve=False):
        key = f"{prefix}.{name!s}" if prefix else str(name)
        if isinstance(value, DictConfig) and not value._is_interpolation() and not value._is_none():
            yield from _leaves(value, key)
        else:
            yield key, value
