"""Changes of colour, compared with a formula in numpy."""

import colorsys

import numpy as np
import pytest
import tensorflow as tf

from pipeline.config.schema import AugmentConfig
from pipeline.data import augment
from tests.data.augmentations import IDENTITY, augmentation


def draws(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, 8)).astype(np.float32)


def random_images(count: int, side: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), np.uint8)


def coloured(images: np.ndarray, drawn: np.ndarray, config: AugmentConfig) -> np.ndarray:
    """Images, (images, height, width, 3) uint8, each with the change of its row of `drawn`, (images, 8)."""
    changes = augment.colour_changes(config, tf.constant(drawn))
    changed = []
    for number, image in enumerate(images):
        change = changes and augment.ColourChange(changes.matrix[number], changes.lift[number])
        changed.append(augment.change_colours(tf.constant(image, tf.float32), change))
        assert changed[-1].dtype == tf.uint8
    return np.stack(changed)


def expected_colours(image: np.ndarray, drawn: np.ndarray, config: AugmentConfig) -> np.ndarray:
    """One image in float64, step by step: hue rotated in YIQ, then saturation, contrast and brightness."""
    strengths = [config.brightness, config.contrast, config.saturation, config.hue]
    brightness, contrast, saturation, turn = (2 * drawn[4:].astype(float) - 1) * strengths
    x = image.astype(float)
    luma = x @ [0.299, 0.587, 0.114]
    mean = luma.mean()
    i = x @ [0.595716, -0.274453, -0.321263]
    q = x @ [0.211456, -0.522591, 0.311135]
    chroma = (i + 1j * q) * np.exp(2j * np.pi * turn)
    x = luma[..., np.newaxis] + np.stack(
        [
            0.9563 * chroma.real + 0.6210 * chroma.imag,  # YIQ to RGB as printed in textbooks
            -0.2721 * chroma.real - 0.6474 * chroma.imag,
            -1.1070 * chroma.real + 1.7046 * chroma.imag,
        ],
        axis=-1,
    )
    luma = (x @ [0.299, 0.587, 0.114])[..., np.newaxis]
    x = luma + (1 + saturation) * (x - luma)
    x = mean + (1 + contrast) * (x - mean)
    return np.clip((1 + brightness) * x, 0, 255)


@pytest.mark.parametrize(
    "config",
    [
        augmentation(brightness=0.4),
        augmentation(contrast=0.4),
        augmentation(saturation=0.6),
        augmentation(hue=0.5),
        augmentation(brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1),
    ],
    ids=["brightness", "contrast", "saturation", "hue", "all"],
)
def test_colours_are_those_of_a_formula_in_float64(config: AugmentConfig) -> None:
    images, drawn = random_images(12), draws(12)
    changed = coloured(images, drawn, config)
    for image, row, found in zip(images, drawn, changed, strict=True):
        assert np.abs(found - expected_colours(image, row, config)).max() <= 0.51
    assert (changed != images).mean() > 0.5


def test_zero_strength_is_the_identity() -> None:
    images = random_images(3)
    for drawn in (draws(3), np.zeros((3, 8), np.float32)):
        np.testing.assert_array_equal(coloured(images, drawn, IDENTITY), images)


def test_middle_of_every_range_is_the_identity() -> None:
    """0.5 in [0, 1) is no change, although the matrix is applied."""
    images = random_images(3)
    same = coloured(
        images, np.full((3, 8), 0.5, np.float32), augmentation(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1)
    )
    np.testing.assert_array_equal(same, images)


def test_hue_and_saturation_leave_grey_unchanged() -> None:
    grey = np.repeat(random_images(6)[..., :1], 3, axis=-1)
    np.testing.assert_array_equal(coloured(grey, draws(6), augmentation(saturation=0.9, hue=0.5)), grey)
    changed = coloured(grey, draws(6), augmentation(brightness=0.3, contrast=0.3, saturation=0.9, hue=0.5))
    assert (changed == changed[..., :1]).all() and (changed != grey).any()


def test_third_of_a_circle_turns_red_to_another_primary() -> None:
    """A change of hue by a share of the circle is about that share in HSV too, and the luma stays the same."""
    red = np.full((1, 4, 4, 3), (150, 90, 90), np.uint8)
    drawn = np.full((1, 8), 0.5, np.float32)
    drawn[0, 7] = 0.5 + 1 / 3  # hue=0.5 times 2/3: a third of the circle
    turned = coloured(red, drawn, augmentation(hue=0.5))[0, 0, 0]
    hue = colorsys.rgb_to_hsv(*(turned / 255.0))[0]
    assert min(abs(hue - 1 / 3), abs(hue - 2 / 3)) < 0.06
    assert turned @ [0.299, 0.587, 0.114] == pytest.approx(red[0, 0, 0] @ [0.299, 0.587, 0.114], abs=1)


@pytest.mark.parametrize("count", [2, 3, 6])
def test_colours_do_not_depend_on_other_crops(count: int) -> None:
    images, drawn, config = (
        random_images(12, 32),
        draws(12),
        augmentation(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.1),
    )
    whole = coloured(images, drawn, config)
    for start in range(0, 12, count):
        part = np.s_[start : start + count]
        np.testing.assert_array_equal(coloured(images[part], drawn[part], config), whole[part])
    order = np.random.default_rng(0).permutation(12)
    np.testing.assert_array_equal(coloured(images[order], drawn[order], config), whole[order])


def test_colours_are_rounded_to_the_nearest_and_clipped() -> None:
    colours = tf.constant([[[-300.0, -0.6, -0.4], [0.49, 0.5, 0.51], [127.5, 254.4, 254.5], [255.4, 255.6, 900.0]]])
    found = augment.change_colours(colours, None)
    np.testing.assert_array_equal(found, [[[0, 0, 0], [0, 1, 1], [128, 254, 255], [255, 255, 255]]])


def test_strength_bounds_the_change() -> None:
    """Brightness 0.2 gives factors over all of the range from 0.8 to 1.2."""
    grey = np.full((300, 2, 2, 3), 100, np.uint8)
    found = coloured(grey, draws(300), augmentation(brightness=0.2))[:, 0, 0, 0]
    assert 80 <= found.min() <= 82 and 118 <= found.max() <= 120
