"""The first crops of a stream, and what they hold of each class."""

import numpy as np
import pytest
import tensorflow as tf

from pipeline.data.crops import TrainingCrops, first_crops


def crops_of(masks: np.ndarray, classes: int = 3, batch_size: int = 2) -> TrainingCrops:
    """The crops of a stream with these masks, (crops, crop, crop), whose images have the number of their crop."""
    images = np.broadcast_to(np.arange(len(masks), dtype=np.uint8)[:, None, None, None], (*masks.shape, 3))
    stream = tf.data.Dataset.from_tensor_slices((images, masks.astype(np.uint8)))
    return first_crops(stream.batch(batch_size), classes)


def test_classes_and_void_are_counted_in_every_crop() -> None:
    crops = crops_of(np.array([[[0, 0], [1, 255]], [[0, 0], [0, 0]], [[255, 255], [255, 255]], [[1, 1], [2, 255]]]))
    assert crops.pixels.tolist() == [[2, 1, 0], [4, 0, 0], [0, 0, 0], [0, 2, 1]]
    assert crops.void_pixels.tolist() == [1, 0, 4, 1] and crops.count == 4
    assert crops.with_class.tolist() == [0.5, 0.5, 0.25]
    assert crops.shares == pytest.approx([0.6, 0.3, 0.1])
    assert crops.void_share == 6 / 16


def test_twelve_are_shown_and_ninety_six_counted() -> None:
    crops = crops_of(np.zeros((120, 1, 1)), batch_size=5)
    assert crops.images[:, 0, 0, 0].tolist() == list(range(12)) and crops.masks.shape == (12, 1, 1)
    assert crops.count == 96


def test_a_stream_may_be_shorter_and_all_of_it_void() -> None:
    crops = crops_of(np.full((2, 4, 4), 255))
    assert len(crops.images) == crops.count == 2
    assert crops.shares.tolist() == [0, 0, 0] and crops.void_share == 1
