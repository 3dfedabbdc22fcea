"""How much memory decoded images get, and what the opening of a run says of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.overrides import checked_config
from pipeline.data import room as room_module
from pipeline.data.cache import DataCache
from pipeline.data.room import MIB, Room, scoring_batch
from pipeline.data.training_images import DecodedImages, FileImages

SIZES = np.array([[256, 256]] * 100)  # 25 MiB decoded


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """left(memory, addresses): the MiB that this process may still use."""

    def pretend(memory: int, addresses: int = 2**40) -> None:
        monkeypatch.setattr(room_module, "available_memory", lambda: memory * MIB)
        monkeypatch.setattr(room_module, "available_addresses", lambda: addresses * MIB)

    return pretend


@pytest.mark.parametrize(
    ("memory", "addresses", "cache_mb", "processes", "text", "bound"),
    [
        (16384, 2**40, 4096, 1, "cache: 25 MB in memory", 4096),
        (100, 2**40, 4096, 1, "cache: 25 MB in memory", 25),
        (99, 2**40, 4096, 1, "cache: 25 MB in a file, as 24 MB of memory are left for them", 24),
        (16384, 2**40, 20, 1, "cache: 25 MB in a file", 20),
        (200, 2**40, 4096, 2, "cache: 25 MB in memory", 25),
        (200, 2**40, 4096, 3, "cache: 25 MB in a file, as 16 MB of memory are left for them", 16),
        (0, 2**40, 4096, 1, "cache: 25 MB in a file, as 1 MB of memory are left for them", 1),
        (16384, 2**40, 0, 1, "no cache", 0),
        (80, 80, 4096, 1, "no cache, as 20 MB of memory are left for them, and no addresses for a file of 25 MB "
         "(ulimit -v)", 0),
        (80, 120, 4096, 1, "cache: 25 MB in a file, as 20 MB of memory are left for them", 20),
    ],
)  # fmt: skip
def test_a_quarter_of_what_is_left_is_for_images(
    left: Callable[..., None], memory: int, addresses: int, cache_mb: int, processes: int, text: str, bound: int
) -> None:
    left(memory, addresses)
    found = Room.of(SIZES, None, cache_mb, processes)
    assert str(found) == text and found.bound_mb == bound


def test_room_is_counted_at_working_scale(left: Callable[..., None]) -> None:
    left(100)
    assert Room.of(SIZES, 128, 4096).needed * 4 == Room.of(SIZES, None, 4096).needed == 25 * MIB


@given(st.integers(0, 2**16), st.integers(0, 2**16), st.integers(1, 64))
def test_the_configured_size_is_never_exceeded(memory: int, cache_mb: int, processes: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room_module, "available_memory", lambda: memory * MIB)
        patch.setattr(room_module, "available_addresses", lambda: 2**60)
        found = Room.of(SIZES, None, cache_mb, processes)
    assert found.bound_mb <= cache_mb
    assert found.bound_mb * processes * 4 <= memory or found.bound_mb == 1
    assert bool(found.bound_mb) == bool(cache_mb)


@pytest.mark.parametrize(("memory", "batch"), [(2**20, 8), (40, 8), (39, 7), (5, 1), (0, 1)])
def test_batches_for_scoring_shrink_where_memory_is_short(left: Callable[..., None], memory: int, batch: int) -> None:
    left(memory)
    assert scoring_batch(np.array([[256, 256], [8, 8]]), 8, workers=2) == batch


def test_what_the_opening_says_is_done_later(
    left: Callable[..., None], voc_folder: Callable[..., Path], tmp_path: Path
) -> None:
    options = [
        "dataset=folder", f"dataset.root={voc_folder()}", "dataset.classes=[a,b,c]", "dataset.splits.val=val",
        "dataset.splits.test=test", "batch_size=2", "long_side=512", f"data_dir={tmp_path}",
    ]  # fmt: skip
    cache, config = DataCache(), checked_config(options)
    dataset = cache.dataset(config)
    left(4)
    assert str(cache.room(config, dataset)) == "cache: 3 MB in a file, as 1 MB of memory are left for them"
    left(4000)  # memory that is free again a minute later changes nothing
    assert isinstance(cache.images(config, dataset), DecodedImages)
    assert list((tmp_path / "decoded").glob("*.bin"))
    left(4, addresses=4)
    fresh = DataCache()
    assert isinstance(fresh.images(config, fresh.dataset(config)), FileImages)
