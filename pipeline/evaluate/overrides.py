"""The overrides of `python -m pipeline.evaluate`: other data, or other views of each image, for a stored run."""

import dataclasses
from collections.abc import Collection, Sequence

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from pipeline.config.dataset_file import dataset_file
from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.config.schema_dataset import DatasetConfig
from pipeline.config.validation import check, checked
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import nearest

PIXEL_KEYS = ("exif", "intensity")  # of `dataset`: what turns the files of images into pixels
SHOWN = ("dataset.background", "dataset.colours")  # of classes, which may be the run's: these are checked with it
VIEWS = ("evaluate.batch_size", "evaluate.flip", "evaluate.scales", "evaluate.window")


def forbidden(overrides: Sequence[str], other_keys: Collection[str]) -> list[str]:
    """A message for each override of a key that a stored run cannot be scored with.

    Args:
        other_keys: further keys of the command, as suggestions for a misspelt one.
    """
    allowed = ("dataset", "data_dir", *VIEWS)
    return [
        f"{override}: a stored run is scored as it was trained; only dataset, dataset.*, data_dir, {', '.join(VIEWS)} "
        f"can differ{nearest(_key(override), [*other_keys, *allowed])}"
        for override in overrides
        if _key(override) not in allowed and not override.startswith("dataset.")
    ]


def compose(overrides: Sequence[str]) -> Config:
    """What the overrides compose to without a run, but for those of `SHOWN`.

    Raises:
        UserError: with every fault, one line each; several values for one key are a fault.
    """
    # Whether windows fit the run's network is checked by `with_data`; a network of this depth takes any.
    known = [override for override in overrides if _key(override) not in SHOWN]
    config = checked_config([*known, "model.depth=1"], addresses=False)
    check_single(known)
    return config


def with_data(stored: Config, composed: Config, overrides: Sequence[str]) -> Config:
    """A stored configuration with other data and views; everything else about a prediction stays as it was.

    Image files become pixels as in the run, unless `dataset.exif` or `dataset.intensity` is given. Other data have the
    run's class names, unless `dataset.classes` or the folder's `dataset.yaml` names them, or it is a known dataset with
    another number of classes; and the background at the run's index and the run's colours, unless these are given.
    Their loss has no class weights: these come from the frequencies in the run's training masks.

    Args:
        composed: what `compose` returned for the overrides.

    Raises:
        UserError: the number or the order of the classes differs from the run's, or its network cannot take the
            windows.
    """
    keys = {_key(override) for override in overrides}
    dataset = _other_dataset(stored, composed, keys) if "dataset" in keys else _changed_dataset(stored, overrides)
    if len(dataset.classes) != len(stored.dataset.classes):
        raise UserError(
            f"dataset.classes: {len(dataset.classes)} names, but the run has {len(stored.dataset.classes)}: "
            + ", ".join(stored.dataset.classes)
        )
    own = stored.dataset.classes
    if moved := [name for name, there in zip(dataset.classes, own, strict=True) if name != there and name in own]:
        raise UserError(
            f"dataset.classes: {', '.join(moved)}: at another place than in the run, whose network predicts the "
            f"indices of: {', '.join(own)}; masks with these indices expected, and their names in this order"
        )
    views = {view: getattr(composed.evaluate, view) for view in (key.partition(".")[2] for key in keys & set(VIEWS))}
    loss = stored.loss if dataset == stored.dataset else dataclasses.replace(stored.loss, class_weights="none")
    config = dataclasses.replace(
        stored,
        dataset=dataset,
        data_dir=composed.data_dir if "data_dir" in keys else stored.data_dir,
        evaluate=dataclasses.replace(stored.evaluate, **views),
        loss=loss,
    )
    if faults := check(config):
        raise UserError(*faults)
    shown = [override for override in overrides if _key(override) in SHOWN]
    if not shown:
        return config
    config = checked_config(shown, config, addresses=False)
    check_single(shown)
    return config


def _other_dataset(stored: Config, composed: Config, keys: Collection[str]) -> DatasetConfig:
    """The dataset of `dataset=…`."""
    as_in_run = {name: getattr(stored.dataset, name) for name in PIXEL_KEYS if f"dataset.{name}" not in keys}
    dataset = dataclasses.replace(composed.dataset, **as_in_run)
    as_many = len(dataset.classes) == len(stored.dataset.classes)
    named = "dataset.classes" in keys or dataset_file(dataset) is not None
    if not named and (dataset.name == "folder" or as_many):
        dataset = dataclasses.replace(dataset, classes=stored.dataset.classes)
    return _shown_as(stored.dataset, dataset)


def _changed_dataset(stored: Config, overrides: Sequence[str]) -> DatasetConfig:
    """The run's dataset with the keys of `dataset.*` changed; another folder may name its classes."""
    changed = OmegaConf.structured(stored)
    changed.dataset.background = changed.dataset.colours = None  # which may not fit the changed classes
    known = [override for override in overrides if _key(override) not in SHOWN]
    for override in OverridesParser.create().parse_overrides(known):
        if override.key_or_group.startswith("dataset."):
            OmegaConf.update(changed, override.key_or_group, override.value(), merge=True)
    keys = {_key(override) for override in known}
    if "dataset.root" in keys and "dataset.classes" not in keys:
        other = dataclasses.replace(stored.dataset, root=changed.dataset.root)
        if dataset_file(other) is not None:
            changed.dataset.classes = []  # those of the file
    return _shown_as(stored.dataset, checked(changed).dataset)


def _shown_as(stored: DatasetConfig, dataset: DatasetConfig) -> DatasetConfig:
    """A dataset with the background, by its index, and the colours of a run with as many classes."""
    if len(dataset.classes) != len(stored.classes):
        return dataset
    index = None if stored.background is None else stored.classes.index(stored.background)
    background = None if index is None else dataset.classes[index]
    return dataclasses.replace(dataset, background=background, colours=stored.colours)


def check_single(overrides: Sequence[str]) -> None:
    """Raises: UserError: there are several values for one key."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    if swept := [override.input_line for override in parsed if override.is_sweep_override()]:
        raise UserError(*(f"{override}: one value expected" for override in swept))


def _key(override: str) -> str:
    return override.partition("=")[0]
