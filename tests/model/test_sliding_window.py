"""Sliding windows over an image, against a loop in numpy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.model.sliding_window import _positions, sliding_window_logits
from tests.model.networks import pointwise, position_dependent, random_image


@given(st.integers(1, 300), st.integers(2, 64))
@settings(max_examples=100)
def test_windows_cover_the_image_and_overlap_by_half(length: int, side: int) -> None:
    side = min(length, side)
    positions = _positions(tf.constant(length), tf.constant(side)).numpy()
    assert positions[0] == 0 and positions[-1] == length - side
    assert all(0 < step <= max(1, -(-side // 2)) for step in np.diff(positions))


@pytest.mark.parametrize("window", [8, 16, 64])
def test_logits_are_the_mean_over_the_windows(window: int) -> None:
    padded = random_image(20, 36)[tf.newaxis]
    height, width = min(window, 20), min(window, 36)
    total, count = np.zeros((1, 20, 36, 2)), np.zeros((1, 20, 36, 1))
    for top in _positions(tf.constant(20), tf.constant(height)).numpy():
        for left in _positions(tf.constant(36), tf.constant(width)).numpy():
            window_pixels = np.s_[:, top : top + height, left : left + width]
            total[window_pixels] += position_dependent(padded[window_pixels]).numpy()
            count[window_pixels] += 1
    found = tf.function(sliding_window_logits)(position_dependent, padded, window)
    np.testing.assert_allclose(found, total / count, atol=1e-5)
    whole = pointwise(padded)
    np.testing.assert_allclose(sliding_window_logits(pointwise, padded, window), whole, rtol=1e-5)


def test_the_network_occurs_once_in_the_graph() -> None:
    """However many windows there are: a graph takes time to build and to compile."""
    calls = []

    def network(images: tf.Tensor) -> tf.Tensor:
        calls.append(images)
        return pointwise(images)

    tf.function(sliding_window_logits)(network, random_image(64, 64)[tf.newaxis], 8)
    assert len(calls) == 1
