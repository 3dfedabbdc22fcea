"""The files of conf/, and how Hydra comes to know them and the schema."""

from collections.abc import Iterator, Sequence
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf

from pipeline.config.schema import Config
from pipeline.runtime.files import ROOT

CONF = ROOT / "conf"
# What `hydra.sweeper` holds; the classes are made known when a sweep starts (`pipeline.sweep.plugins`).
SWEEPERS: dict[str, dict[str, Any]] = {
    "grid": {"_target_": "hydra_plugins.segmentation_pipeline.GridSweeper"},
    "optuna": {"_target_": "hydra_plugins.segmentation_pipeline.OptunaSweeper", "n_trials": 20},
}


def register(base: Config | None = None) -> str:
    """Make the typed schema known to Hydra, and with it a stored configuration, if that is the base.

    Returns:
        The name of the configuration that Hydra starts from.
    """
    Plugins.instance()  # those that are installed bring configurations of their own, which conf/ has in their place
    store = ConfigStore.instance()
    launchers = store.repo["hydra"]["launcher"]
    for name in set(launchers) - {"basic.yaml"}:
        del launchers[name]
    store.store(name="schema", node=Config)
    for name, node in SWEEPERS.items():
        store.store(group="hydra/sweeper", name=name, node=node)
    if base is None:
        return "config"
    # What Hydra itself is told, as where its folders are, is no part of a run's configuration.
    own = OmegaConf.to_container(OmegaConf.load(CONF / "config.yaml"))["hydra"]  # type: ignore[call-overload,index]
    values = OmegaConf.to_container(OmegaConf.structured(base))
    assert isinstance(values, dict)
    # It may be a trial's: what sweep it belonged to is not for the next one.
    store.store(name="stored", node={"defaults": ["schema", "_self_", {"sweep": "grid"}], **values, "hydra": own})
    return "stored"


def groups() -> dict[str, list[str]]:
    """The configuration groups of conf/ and their choices."""
    return {
        folder.name: sorted(file.stem for file in folder.glob("*.yaml"))
        for folder in sorted(CONF.iterdir())
        if folder.is_dir() and folder.name != "hydra"
    }


def compose_overrides(overrides: Sequence[str], base: Config | None = None) -> DictConfig:
    """The configuration of conf/, or a stored one, with these overrides, typed by the schema but not checked."""
    name = register(base)
    with initialize_config_dir(config_dir=str(CONF), version_base="1.3", job_name="run"):
        return compose(name, overrides=list(overrides))


def written_keys(group: str, choice: str) -> Iterator[str]:
    """The keys that a file of conf/ sets, with those of the files that it chooses."""
    file = CONF / group / f"{choice}.yaml"
    content = OmegaConf.load(file)
    assert isinstance(content, DictConfig)
    prefix = "" if "# @package _global_" in file.read_text() else f"{group}."
    for name, value in content.items():
        if name != "defaults":
            yield from _flat(value, f"{prefix}{name!s}")
            continue
        for chosen in value:  # {"override /model": "unet"}
            for other, its_choice in chosen.items():
                yield from written_keys(str(other).rpartition("/")[2], str(its_choice))


def _flat(value: Any, key: str) -> Iterator[str]:
    if isinstance(value, DictConfig):
        for name, inner in value.items():
            yield from _flat(inner, f"{key}.{name!s}")
    else:
        yield key
