"""CutMix: a rectangle of the next crop is pasted into image and mask."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.data.augment import cut_and_mix

CROP = 16


def batch() -> tuple[tf.Tensor, tf.Tensor]:
    """Three crops of one colour and one class each."""
    masks = tf.repeat(tf.constant([1, 2, 3], tf.uint8)[:, tf.newaxis, tf.newaxis], CROP, 1)
    masks = tf.repeat(masks, CROP, 2)
    return tf.repeat(10 * masks[..., tf.newaxis], 3, 3), masks


def mixed(rows: list[list[float]], share: float = 1.0) -> np.ndarray:
    images, masks = cut_and_mix(*batch(), tf.constant(rows), share)
    assert images.dtype == masks.dtype == tf.uint8
    np.testing.assert_array_equal(images, np.repeat(10 * masks.numpy()[..., np.newaxis], 3, 3))
    return masks.numpy()


def test_quarter_of_the_area_in_the_middle() -> None:
    masks = mixed([[0, 0.25, 0.5, 0.5]] * 3)
    for mask, own, other in zip(masks, (1, 2, 3), (2, 3, 1), strict=True):
        expected = np.full((CROP, CROP), own)
        expected[4:12, 4:12] = other
        np.testing.assert_array_equal(mask, expected)


def test_rectangle_is_cut_off_at_the_edge() -> None:
    mask = mixed([[0, 0.25, 0.0, 0.75]] * 3)[0]
    expected = np.ones((CROP, CROP))
    expected[:4, 8:] = 2
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize(("share", "changed"), [(0.0, [False] * 3), (0.5, [True, False, True]), (1.0, [True] * 3)])
def test_share_of_the_crops_is_changed(share: float, changed: list[bool]) -> None:
    masks = mixed([[0.4, 0.5, 0.5, 0.5], [0.6, 0.5, 0.5, 0.5], [0.1, 0.5, 0.5, 0.5]], share)
    assert [len(np.unique(mask)) == 2 for mask in masks] == changed
