"""Folders in VOC layout, and their examples and faults, as several tests look at them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.config.schema_dataset import DatasetConfig, SplitsConfig
from pipeline.data.check import CheckedDataset
from pipeline.data.image_files import read_index_mask
from pipeline.data.voc import Example, Splits, find_examples

Folder = Callable[..., Path]  # the fixture `voc_folder`
CLASSES = ["background", "cat", "dog"]
LISTS = Path("ImageSets/Segmentation")
MIXED_SIZES = [(24, 32), (40, 17), (9, 30)]


def folder_config(root: Path, *overrides: str) -> Config:
    """A configuration for a folder with three classes, in batches of two."""
    given = ["dataset=folder", f"dataset.root={root}", "dataset.classes=[background,cat,dog]", "batch_size=2"]
    return checked_config(
        [*given, f"data_dir={root.parent / 'data'}", "dataset.splits={val: val, test: test}", *overrides]
    )


def dataset(
    train: str = "train",
    val: str | None = "val",
    test: str | None = "test",
    val_fraction: float = 0.1,
    extra: str | None = None,
    **more: Any,
) -> DatasetConfig:
    return DatasetConfig(
        name="folder",
        classes=CLASSES,
        splits=SplitsConfig(train=train, val=val, test=test, extra=extra),
        val_fraction=val_fraction,
        **more,
    )


def ids_of(root: Path, config: DatasetConfig | None = None) -> dict[str, list[str]]:
    """The ids of each split of a folder without faults."""
    splits, faults = find_examples(root, config or dataset())
    assert faults == []
    return {split: [example.id for example in examples] for split, examples in splits.items()}


def faults_of(root: Path, config: DatasetConfig | None = None) -> list[str]:
    return find_examples(root, config or dataset())[1]


def write_list(root: Path, name: str, content: str | bytes) -> None:
    (root / LISTS / f"{name}.txt").write_bytes(content.encode() if isinstance(content, str) else content)


def example_of(root: Path, example_id: str = "train_0") -> Example:
    image, mask = root / "JPEGImages" / f"{example_id}.jpg", root / "SegmentationClass" / f"{example_id}.png"
    return Example(example_id, image, mask)


def examples_of(root: Path, split: str = "train") -> list[Example]:
    """The examples of a list that a folder of `voc_folder` has."""
    return [example_of(root, example_id) for example_id in (root / LISTS / f"{split}.txt").read_text().split()]


def sizes_of(examples: list[Example]) -> np.ndarray:
    """(examples, 2) height and width of the files."""
    return np.array([read_index_mask(example.mask).shape for example in examples])


def splits_of(root: Path) -> Splits:
    """The examples of a folder without faults in its lists."""
    splits, faults = find_examples(root, dataset())
    assert not faults
    return splits


def assert_same(one: CheckedDataset, other: CheckedDataset) -> None:
    assert one.digest == other.digest
    assert list(one.statistics) == list(other.statistics)
    for split, statistics in one.statistics.items():
        assert np.array_equal(statistics.sizes, other.statistics[split].sizes)
        assert np.array_equal(statistics.class_pixels, other.statistics[split].class_pixels)
    assert one.warnings == other.warnings
