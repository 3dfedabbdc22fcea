"""Data are prepared once for all runs of a process, as long as no file changes."""

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.data import cache as cache_module
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
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The functions that were really called."""
    calls: list[str] = []

    def count(name: str, original: Callable[..., Any]) -> None:
        def counted(*arguments: Any, **named: Any) -> Any:
            calls.append(name)
            return original(*arguments, **named)

        monkeypatch.setattr(cache_module, name, counted)

    count("prepare_dataset", cache_module.prepare_dataset)
    count("training_images", cache_module.training_images)
    return calls


def both(cache: DataCache, config: Config) -> tuple[object, object]:
    dataset = cache.dataset(config)
    return dataset, cache.images(config, dataset)


def test_second_run_on_the_same_files_reuses_all(config: Config, calls: list[str]) -> None:
    cache = DataCache()
    first = both(cache, config)
    other = dataclasses.replace(config, seed=7, model=dataclasses.replace(config.model, depth=1))
    assert all(one is two for one, two in zip(first, both(cache, other), strict=True))
    assert calls == ["prepare_dataset", "training_images"]


@pytest.mark.parametrize("file", ["JPEGImages/train_0.jpg", "SegmentationClass/val_0.png"])
def test_touched_file_is_checked_again(config: Config, calls: list[str], file: str) -> None:
    cache = DataCache()
    both(cache, config)
    path = Path(config.dataset.root or "") / file
    os.utime(path, ns=(0, 1))
    both(cache, config)
    assert calls == ["prepare_dataset", "training_images"] * 2


def test_changed_list_is_another_dataset(config: Config, calls: list[str]) -> None:
    cache = DataCache()
    before, _ = both(cache, config)
    lists = Path(config.dataset.root or "") / "ImageSets/Segmentation"
    (lists / "train.txt").write_text("train_0\ntrain_1\n")
    after, _ = both(cache, config)
    assert len(after.splits["train"]) == 2 < len(before.splits["train"])  # type: ignore[attr-defined]


@pytest.mark.parametrize("while_decoding", [True, False])
def test_mask_that_changes_after_its_check_is_reported(
    config: Config, monkeypatch: pytest.MonkeyPatch, while_decoding: bool
) -> None:
    """Every later run would take the decoded file for that of the earlier masks, whose digest it has."""
    config = dataclasses.replace(config, cache_mb=1, long_side=512)
    cache = DataCache()
    dataset = cache.dataset(config)
    mask, decode = dataset.splits["train"][0].mask, cache_module.training_images

    def changes(*arguments: Any) -> Any:
        if while_decoding:
            os.utime(mask, ns=(0, 1))
        (mask.parent / "of another program.txt").write_text("not part of the data")
        return decode(*arguments)

    if not while_decoding:
        os.utime(mask, ns=(0, 1))
    monkeypatch.setattr(cache_module, "training_images", changes)
    with pytest.raises(UserError, match="images or masks changed while they were decoded"):
        cache.images(config, dataset)
    decoded = Path(config.data_dir) / "decoded"
    assert not list(decoded.glob("*.bin"))
    monkeypatch.setattr(cache_module, "training_images", decode)
    both(cache, config)
    assert len(list(decoded.glob("*.bin"))) == 1


def test_another_long_side_decodes_without_checking(config: Config, calls: list[str]) -> None:
    cache = DataCache()
    both(cache, config)
    both(cache, dataclasses.replace(config, long_side=16))
    assert calls == ["prepare_dataset", "training_images", "training_images"]


def test_batch_too_large_is_refused_for_cached_data(config: Config) -> None:
    cache, large = DataCache(), dataclasses.replace(config, batch_size=100)
    with pytest.raises(UserError) as fresh:
        cache.dataset(large)
    cache.dataset(config)
    with pytest.raises(UserError) as again:
        cache.dataset(large)
    assert cache.dataset(large, trains=False) is cache.dataset(config)
    assert fresh.value.faults == again.value.faults
    assert fresh.value.faults[0].startswith("batch_size=100: the training split has only 4 images")
