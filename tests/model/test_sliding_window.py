"""Windows over an image, against a loop in numpy."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.model.sliding_window import _positions, by_windows
from tests.model.test_tta import leaning, pointwise, random_image


@given(st.integers(1, 300), st.integers(2, 64))
@settings(max_examples=100)
def test_windows_reach_from_edge_to_edge_and_overlap_by_half(length: int, side: int) -> None:
    side = min(length, side)
    begins = _positions(tf.constant(length), tf.constant(side)).numpy()
    assert begins[0] == 0 and begins[-1] == length - side
    assert all(0 < step <= max(1, -(-side // 2)) for step in np.diff(begins))


@pytest.mark.parametrize("window", [8, 16, 64])
def test_windows_give_the_mean_of_what_each_gives(window: int) -> None:
    padded = random_image(20, 36)
    height, width = min(window, 20), min(window, 36)
    total, count = np.zeros((1, 20, 36, 2)), np.zeros((1, 20, 36, 1))
    for top in _positions(tf.constant(20), tf.constant(height)).numpy():
        for left in _positions(tf.constant(36), tf.constant(width)).numpy():
            place = np.s_[:, top : top + height, left : left + width]
            total[place] += leaning(padded[tf.newaxis][place]).numpy()
            count[place] += 1
    found = tf.function(by_windows)(leaning, padded, window)
    np.testing.assert_allclose(found, total / count, atol=1e-5)
    np.testing.assert_allclose(by_windows(pointwise, padded, window), pointwise(padded[tf.newaxis]), rtol=1e-5)


def test_the_network_is_in_the_graph_once() -> None:
    """However many windows there are: a graph takes time to make and to compile."""
    asked = []

    def network(images: tf.Tensor) -> tf.Tensor:
        asked.append(images)
        return pointwise(images)

    tf.function(by_windows)(network, random_image(64, 64), 8)
    assert len(asked) == 1
