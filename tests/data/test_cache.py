"""Data are prepared once for all runs of a process, as long as no file has changed."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.data import cache as kept_module
from pipeline.data.cache import DataCache
from pipeline.runtime.errors import UserError


@pytest.fixture
def config(voc_folder: Callable[..., Path], tmp_path: Path) -> Config:
    root = voc_folder()
    return checked_config(
        ["dataset=folder", f"dataset.root={root}", "dataset.classes=[a,b,c]", "dataset.splits.val=val",
         "dataset.splits.test=test", "batch_size=2", "long_side=32", f"data_dir={tmp_path}"]
    )  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was really prepared or decoded."""
    calls: list[str] = []

    def count(name: str, original: Callable[..., Any]) -> None:
        def counted(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            return original(*arguments, **named)

        monkeypatch.setattr(kept_module, name, counted)

    count("prepare_dataset", kept_module.prepare_dataset)
    count("training_images", kept_module.training_images)
    return calls


def both(kept: DataCache, config: Config) -> tuple[object, object]:
    dataset = kept.dataset(config)
    return dataset, kept.images(config, dataset)


def test_a_second_run_on_the_same_files_prepares_and_decodes_nothing(config: Config, asked: list[str]) -> None:
    kept = DataCache()
    first = both(kept, config)
    other = dataclasses.replace(config, seed=7, model=dataclasses.replace(config.model, depth=1))
    assert all(one is two for one, two in zip(first, both(kept, other), strict=True))
    assert asked == ["prepare_dataset", "training_images"]


@pytest.mark.parametrize("file", ["JPEGImages/train_0.jpg", "SegmentationClass/val_0.png"])
def test_a_file_that_was_touched_is_looked_at_again(config: Config, asked: list[str], file: str) -> None:
    kept = DataCache()
    both(kept, config)
    path = Path(config.dataset.root or "") / file
    os.utime(path, ns=(0, 1))
    both(kept, config)
    assert asked == ["prepare_dataset", "training_images"] * 2


def test_a_changed_list_is_another_dataset(config: Config, asked: list[str]) -> None:
    kept = DataCache()
    before, _ = both(kept, config)
    lists = Path(config.dataset.root or "") / "ImageSets/Segmentation"
    (lists / "train.txt").write_text("train_0\ntrain_1\n")
    after, _ = both(kept, config)
    assert len(after.splits["train"]) == 2 < len(before.splits["train"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("while_decoding", [True, False])
def test_a_mask_that_changes_after_it_was_checked_is_told_and_leaves_no_decoded_file(
    config: Config, monkeypatch: pytest.MonkeyPatch, while_decoding: bool
) -> None:
    """The file would stand for the digest of what was there before, for every later run."""
    config = dataclasses.replace(config, cache_mb=1, long_side=512)
    kept = DataCache()
    dataset = kept.dataset(config)
    mask, decode = dataset.splits["train"][0].mask, kept_module.training_images

    def changes(*arguments: Any) -> Any:
        if while_decoding:
            os.utime(mask, ns=(0, 1))
        (mask.parent / "of another program.txt").write_text("no part of the data")
        return decode(*arguments)

    if not while_decoding:
        os.utime(mask, ns=(0, 1))
    monkeypatch.setattr(kept_module, "training_images", changes)
    with pytest.raises(UserError, match="images or masks changed while they were decoded"):
        kept.images(config, dataset)
    decoded = Path(config.data_dir) / "decoded"
    assert not list(decoded.glob("*.bin"))
    monkeypatch.setattr(kept_module, "training_images", decode)
    both(kept, config)
    assert len(list(decoded.glob("*.bin"))) == 1


def test_another_working_size_decodes_but_does_not_check_again(config: Config, asked: list[str]) -> None:
    kept = DataCache()
    both(kept, config)
    both(kept, dataclasses.replace(config, long_side=16))
    assert asked == ["prepare_dataset", "training_images", "training_images"]


def test_a_batch_that_is_too_large_is_refused_for_kept_data_too(config: Config) -> None:
    kept, large = DataCache(), dataclasses.replace(config, batch_size=100)
    with pytest.raises(UserError) as fresh:
        kept.dataset(large)
    kept.dataset(config)
    with pytest.raises(UserError) as again:
        kept.dataset(large)
    assert kept.dataset(large, trains=False) is kept.dataset(config)
    assert fresh.value.faults == again.value.faults
    assert fresh.value.faults[0].startswith("batch_size=100: the training split has only 4 images")
