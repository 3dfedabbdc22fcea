"""Rotation, shear and elastic deformation, with invariants that hold for any of them."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.schema import AugmentConfig
from pipeline.data import augment, deformation
from pipeline.data.deformation import Deformation
from pipeline.data.palette import VOID
from tests.data.augmentations import augmentation

ALL = augmentation(scale=[0.5, 2.0], flip=True, rotate=180, shear=30, elastic=0.06)
units = st.integers(0, 2**23 - 1).map(lambda number: number / 2**23)
eight = st.tuples(*[units] * 8)
sides = st.integers(1, 40)
CROP = 16


def drawn(
    size: tuple[int, int], config: AugmentConfig, numbers: tuple[float, ...], geometry: tuple[float, ...]
) -> Deformation:
    """The deformation of one crop."""
    of_all = deformation.deformations(
        tf.constant([size]),
        CROP,
        config,
        tf.constant([numbers], tf.float32),
        tf.constant([geometry], tf.float32),
        tf.constant([[3, 5]], tf.int64),
    )
    return Deformation(*(part[0] for part in of_all))


@tf.function(  # traced once: of small crops, that is what takes time
    autograph=False,
    input_signature=[
        tf.TensorSpec((None, None, 3), tf.uint8),
        tf.TensorSpec((None, None), tf.uint8),
        Deformation(
            *[tf.TensorSpec(2, tf.int32)] * 2,
            *[tf.TensorSpec(2, tf.float32)] * 2,
            tf.TensorSpec((2, 2), tf.float32),
            tf.TensorSpec((), tf.float32),
            tf.TensorSpec(2, tf.int64),
        ),
    ],
)
def deform(image: tf.Tensor, mask: tf.Tensor, wanted: Deformation) -> tuple[tf.Tensor, tf.Tensor]:
    return deformation.deform(image, mask, wanted, CROP, True)


def deformed(image: np.ndarray, mask: np.ndarray, wanted: Deformation) -> tuple[np.ndarray, np.ndarray]:
    (top, left), (bottom, right) = wanted.start.numpy(), (wanted.start + wanted.extent).numpy()
    rectangle = slice(top, bottom), slice(left, right)
    crop, labels = deform(tf.constant(image[rectangle]), tf.constant(mask[rectangle]), wanted)
    return crop.numpy(), labels.numpy()


@settings(max_examples=30, deadline=None)
@given(sides, sides, eight)
def test_without_turn_shear_and_elasticity_it_is_the_plain_crop(
    height: int, width: int, numbers: tuple[float, ...]
) -> None:
    """To the bit at a scale of 1, whatever lies outside and whether or not it is mirrored."""
    rng, config = np.random.default_rng(height), augmentation(flip=True, rotate=45, shear=10, elastic=0.05)
    image, mask = rng.integers(0, 256, (height, width, 3), np.uint8), rng.integers(0, 9, (height, width), np.uint8)
    found = deformed(image, mask, drawn((height, width), config, numbers, (0.5, 0.5, 0, 0, 0, 0, 0, 0)))
    windows = augment.crop_windows(tf.constant([mask.shape]), CROP, config, tf.constant([numbers], tf.float32))
    window = augment.Window(*(part[0] for part in windows))
    (top, left), (bottom, right) = window.start.numpy(), (window.start + window.extent).numpy()
    expected = augment.warp(image[top:bottom, left:right], mask[top:bottom, left:right], window, CROP)
    np.testing.assert_array_equal(found[0], expected[0])
    np.testing.assert_array_equal(found[1], expected[1])


@settings(max_examples=30, deadline=None)
@given(sides, sides, eight, eight)
def test_labels_are_those_of_the_source_or_void(
    height: int, width: int, numbers: tuple[float, ...], geometry: tuple[float, ...]
) -> None:
    rng = np.random.default_rng(width)
    labels = rng.choice(np.array([0, 40, 80, 120], np.uint8), (height, width))
    image, mask = deformed(
        np.repeat(labels[..., np.newaxis], 3, 2), labels, drawn(labels.shape, ALL, numbers, geometry)
    )
    assert set(np.unique(mask)) <= {*np.unique(labels), VOID}
    if min(height, width) >= 8:  # of a pixel or two, nothing need lie at the centre of a pixel of the crop
        assert (mask != VOID).any()
    assert (image[mask == VOID] == 124).all()
    assert image[mask != VOID].size == 0 or image[mask != VOID].max() <= labels.max()


@settings(max_examples=30, deadline=None)
@given(sides, sides, eight, eight, st.sampled_from([0, 1]))
def test_image_and_mask_move_together(
    height: int, width: int, numbers: tuple[float, ...], geometry: tuple[float, ...], axis: int
) -> None:
    """Where colours and labels both are the row, or the column, they differ by half a pixel at most."""
    labels = np.indices((height, width))[axis].astype(np.uint8)
    image, mask = deformed(
        np.repeat(labels[..., np.newaxis], 3, 2), labels, drawn(labels.shape, ALL, numbers, geometry)
    )
    assert (np.abs(image[..., 0] - mask)[mask != VOID] <= 0.501).all()


@settings(max_examples=30, deadline=None)
@given(sides, sides, eight, eight)
def test_the_rectangle_has_all_that_the_crop_needs(
    height: int, width: int, numbers: tuple[float, ...], geometry: tuple[float, ...]
) -> None:
    """The whole image gives the same crop, but for rounding."""
    labels = np.random.default_rng(0).integers(0, 200, (height, width), np.uint8)
    image, wanted = np.repeat(labels[..., np.newaxis], 3, 2), drawn(labels.shape, ALL, numbers, geometry)
    whole = wanted._replace(
        start=tf.constant([0, 0]),
        extent=tf.constant(labels.shape),
        centre=wanted.centre + tf.cast(wanted.start, tf.float32),
    )
    (crop, mask), (expected, expected_mask) = deformed(image, labels, wanted), deformed(image, labels, whole)
    same = mask == expected_mask
    assert same.mean() > 0.98
    np.testing.assert_allclose(crop[same], expected[same], atol=0.1)


@pytest.mark.parametrize(("number", "turns"), [(0.25, 1), (0.75, 3), (0.0, 2)])
def test_right_angles_are_quarter_turns(number: float, turns: int) -> None:
    labels = np.random.default_rng(1).integers(0, 200, (CROP, CROP), np.uint8)
    wanted = drawn(labels.shape, augmentation(rotate=180), (0.5,) * 8, (number, 0.5, 0, 0, 0, 0, 0, 0))
    image, mask = deformed(np.repeat(labels[..., np.newaxis], 3, 2), labels, wanted)
    inner = slice(1, -1)  # rounding may put the outermost pixels outside
    np.testing.assert_array_equal(mask[inner, inner], np.rot90(labels, turns)[inner, inner])
    np.testing.assert_allclose(image[inner, inner, 0], np.rot90(labels, turns)[inner, inner], atol=0.01)


@settings(max_examples=30, deadline=None)
@given(eight, eight)
def test_areas_are_those_of_the_scale(numbers: tuple[float, ...], geometry: tuple[float, ...]) -> None:
    wanted = drawn((200, 200), ALL, numbers, geometry)
    side, _, mirrored = augment.drawn_windows(tf.constant([[200, 200]]), CROP, ALL, tf.constant([numbers], tf.float32))
    area = (int(side[0, 0]) / CROP) ** 2 * (-1 if mirrored[0] else 1)
    assert np.linalg.det(wanted.matrix.numpy()) == pytest.approx(area, rel=1e-4)


@pytest.mark.parametrize("key", range(12))
def test_the_greatest_elasticity_folds_nothing(key: int) -> None:
    identity = Deformation(
        *(tf.zeros(2, tf.int32) for _ in range(2)),
        *(tf.zeros(2) for _ in range(2)),
        tf.eye(2),
        tf.constant(0.06 * 64),
        tf.constant([key, 0], tf.int64),
    )
    places = np.indices((64, 64)) + deformation._elastic_field(identity, 64).numpy()  # (2, 64, 64)
    down, across = places[:, 1:, :-1] - places[:, :-1, :-1], places[:, :-1, 1:] - places[:, :-1, :-1]
    assert (down[0] * across[1] - down[1] * across[0] > 0).all()
    moved = places - np.indices((64, 64))
    assert 0.5 < np.abs(moved).max() <= 0.06 * 64 + 1e-4


def test_elastic_fields_differ_with_their_keys() -> None:
    labels = np.tile(np.arange(40, dtype=np.uint8), (40, 1))
    wanted = drawn(labels.shape, augmentation(elastic=0.06), (0.5,) * 8, (0.5, 0.5, 0, 0.99, 0, 0, 0, 0))
    image = np.repeat(labels[..., np.newaxis], 3, 2)
    crops = [deformed(image, labels, wanted._replace(key=tf.constant([key, 1], tf.int64)))[0] for key in (0, 1, 0)]
    assert (crops[0] != crops[1]).any() and (crops[0] == crops[2]).all()


def test_rotation_needs_it_and_flips_do_not() -> None:
    assert not deformation.deforms(augmentation(flip_vertical=True, quarter_turns=True, blur=2))
    for name in ("rotate", "shear", "elastic"):
        assert deformation.deforms(dataclasses.replace(augmentation(), **{name: 0.01}))


# ---- turns without interpolation


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("upside_down", [False, True])
def test_orientations_are_those_of_numpy(turns: int, upside_down: bool) -> None:
    values = np.random.default_rng(0).integers(0, 255, (CROP, CROP, 3), np.uint8)
    geometry = tf.constant([[0, 0, 0, 0, 0.1 if upside_down else 0.9, turns / 4 + 0.1, 0, 0]], tf.float32)
    of_all = augment.orientations(augmentation(flip_vertical=True, quarter_turns=True), geometry)
    assert of_all is not None
    one = augment.Orientation(*(part[0] for part in of_all))
    expected = np.rot90(values, turns)
    expected = expected[::-1] if upside_down else expected
    np.testing.assert_array_equal(augment.orient(tf.constant(values), one), expected)
    np.testing.assert_array_equal(augment.orient(tf.constant(values[..., 0]), one), expected[..., 0])


def test_no_orientation_without_flips_and_turns() -> None:
    assert augment.orientations(augmentation(flip=True), tf.zeros((2, 8))) is None
    values = tf.zeros((4, 4))
    assert augment.orient(values, None) is values
