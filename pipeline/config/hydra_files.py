"""The files of conf/, and how Hydra gets to know them and the schema."""

import copy
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from pipeline.config.schema import Config
from pipeline.runtime.files import ROOT

CONF = ROOT / "conf"
# What `hydra.sweeper` holds. The classes are registered when a sweep starts (`pipeline.sweep.plugins`).
SWEEPERS: dict[str, dict[str, Any]] = {
    "grid": {"_target_": "hydra_plugins.segmentation_pipeline.GridSweeper"},
    "optuna": {"_target_": "hydra_plugins.segmentation_pipeline.OptunaSweeper", "n_trials": 20},
}


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
        return "config"
    # Hydra's own settings, such as where its folders are, come from this machine, never from the run.
    own = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))["hydra"]  # type: ignore[call-overload,index]
    values = OmegaConf.to_container(OmegaConf.structured(base))
    assert isinstance(values, dict)
    # The sweep that a stored trial belonged to is not for the next one.
    store.store(name="stored", node={"defaults": ["schema", "_self_", {"sweep": "grid"}], **values, "hydra": own})
    return "stored"


def groups() -> dict[str, list[str]]:
    """The configuration groups of conf/ and their choices, {group: [choice, …]}."""
    return {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
        for folder in sorted(CONF.iterdir())
        if folder.is_dir() and folder.name != "hydra"
    }


def compose_overrides(overrides: Sequence[str], base: Config | None = None) -> DictConfig:
    """The configuration of conf/, or a stored one, with these overrides, typed by the schema but not checked.

    A process reads a folder conf/ once for the same overrides: Hydra takes a fifth of a second to compose.
    """
    if base is not None:
        return _compose(CONF, tuple(overrides), register(base))
    return copy.deepcopy(_compose_conf(CONF, tuple(overrides)))


@functools.cache
def _compose_conf(conf: Path, overrides: tuple[str, ...]) -> DictConfig:
    return _compose(conf, overrides, register())


def _compose(conf: Path, overrides: tuple[str, ...], name: str) -> DictConfig:
    with initialize_config_dir(config_dir=str(conf), version_base="1.3", job_name="run"):
        return compose(name, overrides=list(overrides))


def written_keys(group: str, choice: str) -> Iterator[str]:
    """The keys that choosing a file of conf/ sets: its own, and those of the files in its defaults list."""
    yield from _written_keys(f"{group}/{choice}", group)


def _written_keys(name: str, section: str) -> Iterator[str]:
    """See `written_keys`.

    Args:
        name: of a file in conf/, without its suffix.
        section: that its keys belong to, unless it is a file for the whole configuration.
    """
    file = CONF / f"{name}.yaml"
    content = OmegaConf.load(file)
    assert isinstance(content, DictConfig)
    if "# @package _global_" in file.read_text():
        section = ""
    for entry in content.pop("defaults", []):
        if isinstance(entry, str):  # a file of the same section: `voc2012`, `/pretrained_unet@_here_`
            other = entry.removesuffix("@_here_")
            if other != "_self_":
                yield from _written_keys(other[1:] if other[0] == "/" else str(Path(name).with_name(other)), section)
        else:  # a choice of another group: {"override /model": "unet"}
            for chosen, choice in entry.items():
                group = chosen.removeprefix("override ").removeprefix("/")
                if group in groups():
                    yield from written_keys(group, choice)
    yield from _leaf_keys(content, section)


def _leaf_keys(content: DictConfig, prefix: str) -> Iterator[str]:
    for name, value in content.items():
        key = f"{prefix}.{name!s}" if prefix else str(name)
        if isinstance(value, DictConfig):
            yield from _leaf_keys(value, key)
        else:
            yield key
