"""Seeds depend on the run's seed and on their purpose, and on nothing else."""

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.seeds import derive_seed

purposes = st.lists(st.one_of(st.text("abc", min_size=1), st.integers(0, 99)), max_size=4)


def test_known_values() -> None:
    """The value that the tool sha256sum gives; a change here means that no old run can be repeated."""
    assert derive_seed(7, "dropout", "bottom", 3) == 1187384932
    digest = hashlib.sha256(b"7\x1fdropout\x1fbottom\x1f3").digest()
    assert derive_seed(7, "dropout", "bottom", 3) == int.from_bytes(digest[:4], "little") // 2


@given(st.integers(0, 2**31 - 1), purposes)
def test_range(seed: int, purpose: list[str | int]) -> None:
    assert 0 <= derive_seed(seed, *purpose) < 2**31


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((0, "a", "b"), (0, "ab")),
        ((0, "a", "b"), (0, "b", "a")),
        ((1, "a"), (0, "a")),
        ((1, 2), (12,)),
        ((0,), (0, "")),
    ],
)
def test_different_purposes_have_different_seeds(one: tuple[int, ...], other: tuple[int, ...]) -> None:
    assert derive_seed(*one) != derive_seed(*other)


def test_seeds_of_neighbours_are_spread_evenly() -> None:
    """Bits of consecutive seeds and purposes are fair coins, and no two of 20000 collide more often than by chance."""
    seeds = np.array([derive_seed(seed, "layer", layer) for seed in range(100) for layer in range(200)])
    bits = (seeds[:, None] >> np.arange(31)) & 1
    assert np.abs(bits.mean(axis=0) - 0.5).max() < 0.02  # 5.6 standard deviations
    assert len(set(seeds.tolist())) >= len(seeds) - 3  # 0.1 collisions expected
    assert abs(np.corrcoef(seeds[:-1], seeds[1:])[0, 1]) < 0.04
