"""The order of an epoch and the examples it has, as functions of (seed, epoch)."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.data.sampling import balanced_draws, repeat_factors, shuffled_indices


def test_known_order() -> None:
    """If these change, no earlier run can be repeated."""
    assert shuffled_indices(11, tf.constant(2, tf.int64), 10).numpy().tolist() == [2, 1, 6, 9, 7, 4, 8, 0, 5, 3]


def test_orders_are_permutations_by_seed_and_epoch() -> None:
    orders = {}
    for seed in (0, 1, 2):
        for epoch in range(5):
            order = shuffled_indices(seed, tf.constant(epoch, tf.int64), 50).numpy()
            assert sorted(order) == list(range(50))
            again = shuffled_indices(seed, tf.constant(epoch, tf.int32), 50).numpy()
            np.testing.assert_array_equal(order, again)
            orders[seed, epoch] = tuple(order)
    assert len(set(orders.values())) == len(orders)


@pytest.mark.parametrize("seed", [0, 2**31 - 1])
def test_orders_are_uniform(seed: int) -> None:
    """Chi-squared of (position, index), and of which index follows which, over many epochs."""
    count, draws = 8, 4000
    epochs = tf.data.Dataset.range(draws).map(lambda epoch: shuffled_indices(seed, epoch, count))
    orders = np.array(list(epochs.as_numpy_iterator()))  # (draws, count)
    places, pairs = np.zeros((count, count)), np.zeros((count, count))
    np.add.at(places, (np.broadcast_to(np.arange(count), orders.shape), orders), 1)
    np.add.at(pairs, (orders[:, :-1], orders[:, 1:]), 1)
    pairs = pairs[~np.eye(count, dtype=bool)]
    for counts, freedom in ((places, (count - 1) ** 2), (pairs, pairs.size)):
        chi_squared = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
        assert chi_squared < freedom + 4 * np.sqrt(2 * freedom)


# ---- balanced


def draws(seed: int, epoch: int, factors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    indices, repeated = balanced_draws(seed, tf.constant(epoch), factors, count)
    return indices.numpy(), repeated.numpy()


def test_known_draws() -> None:
    """If these change, no earlier run can be repeated."""
    indices, repeated = draws(3, 1, np.array([1.0, 2.0, 4.0]), 7)
    assert sorted(indices.tolist()) == [0, 1, 1, 2, 2, 2, 2]
    assert (indices.tolist(), repeated.tolist()) == ([1, 0, 2, 2, 1, 2, 2], [0, 0, 3, 0, 1, 2, 1])


def test_factor_of_an_image_is_that_of_its_rarest_object() -> None:
    """Four images with object 1, one with object 2, one of the four also with object 3; all have background."""
    pixels = np.array([[9, 1, 0, 0], [9, 5, 0, 0], [9, 1, 0, 2], [9, 1, 0, 0], [9, 0, 3, 0], [9, 0, 0, 0]])
    np.testing.assert_array_equal(repeat_factors(pixels, 0), [1, 1, 2, 1, 2, 1])
    np.testing.assert_array_equal(repeat_factors(pixels[:, :1], 0), [1] * 6)
    moved = pixels[:, [1, 2, 0, 3]]  # the background is class 2
    np.testing.assert_array_equal(repeat_factors(moved, 2), [1, 1, 2, 1, 2, 1])


def test_without_a_background_every_class_counts() -> None:
    """Nine images have class 1; class 0 is in one of them, class 2 in four: factors 3, 1 and 3 / 2."""
    pixels = np.ones((9, 3), np.int64)
    pixels[1:, 0] = pixels[4:, 2] = 0
    np.testing.assert_array_equal(repeat_factors(pixels, None), [3, 1.5, 1.5, 1.5, 1, 1, 1, 1, 1])
    np.testing.assert_array_equal(repeat_factors(pixels, 0), [1.5, 1.5, 1.5, 1.5, 1, 1, 1, 1, 1])


@given(st.lists(st.floats(1, 30), min_size=1, max_size=40), st.integers(1, 80), st.integers(0, 2**31 - 1))
@settings(max_examples=60)
def test_draws_of_an_image_are_its_factor_rounded(factors: list[float], count: int, seed: int) -> None:
    weights = np.array(factors)
    indices, repeated = draws(seed, 2, weights, count)
    expected = count * weights / weights.sum()
    found = np.bincount(indices, minlength=len(factors))
    assert np.all(np.abs(found - expected) < 1 + 1e-3)
    for index in range(len(factors)):
        assert sorted(repeated[indices == index]) == list(range(found[index]))


def test_draws_have_the_expected_frequencies() -> None:
    weights = np.array([1.0, 1.5, 2.0, 5.5])

    def many(seed: int) -> np.ndarray:
        """Epochs by a dataset, as training draws them: (300, 5)."""
        epochs = tf.data.Dataset.range(300).map(lambda epoch: balanced_draws(seed, epoch, weights, 5)[0])
        return np.array(list(epochs.as_numpy_iterator()))

    epochs = many(7)
    assert len({tuple(epoch) for epoch in epochs}) > 50
    np.testing.assert_array_equal(epochs[4], draws(7, 4, weights, 5)[0])
    assert not np.array_equal(epochs[:20], many(8)[:20])
    shares = np.bincount(epochs.ravel()) / (5 * 300)
    np.testing.assert_allclose(shares, weights / 10, atol=0.02)
    first = np.bincount(epochs[:, 0], minlength=4) / 300  # mixed, not in the order of the line
    np.testing.assert_allclose(first, weights / 10, atol=0.1)
