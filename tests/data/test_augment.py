"""Scale, crop and flip: pure functions of (seed, epoch, index), against slow samplers written here in numpy."""

from dataclasses import dataclass

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.config import AugmentConfig
from pipeline.data import augment
from pipeline.data.palette import VOID

PLAIN = AugmentConfig(scale=[1.0, 1.0], flip=False, brightness=0, contrast=0, saturation=0, hue=0)
FLIPPED = AugmentConfig(scale=[1.0, 1.0], flip=True, brightness=0, contrast=0, saturation=0, hue=0)
units = st.integers(0, 2**23 - 1).map(lambda number: number / 2**23)  # what float32 numbers in [0, 1) are


def numbers(zoom: float = 0.5, top: float = 0.5, left: float = 0.5, flip: float = 0.9) -> tf.Tensor:
    return tf.constant([zoom, top, left, flip, 0.5, 0.5, 0.5, 0.5], tf.float32)


def coded(labels: np.ndarray) -> np.ndarray:
    """An image whose colours tell its mask's labels, (height, width, 3) uint8."""
    return np.stack([labels, 255 - labels, labels // 2], axis=-1).astype(np.uint8)


def crop_of(labels: np.ndarray, crop: int, config: AugmentConfig, drawn: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
    box = augment.crop_box(tf.constant(labels.shape), crop, config, drawn)
    image, mask = augment.warp(tf.constant(coded(labels)), tf.constant(labels), box, crop)
    assert image.dtype == mask.dtype == tf.uint8
    assert image.shape == (crop, crop, 3) and mask.shape == (crop, crop)
    return image.numpy(), mask.numpy()


def boxes_of(side: int, crop: int, config: AugmentConfig, drawn: tf.Tensor) -> np.ndarray:
    """The boxes that many draws (draws, 8) make in a square picture, (draws, 4)."""
    in_a_graph = tf.function(
        lambda rows: tf.map_fn(lambda row: augment.crop_box((side, side), crop, config, row), rows)
    )
    return in_a_graph(drawn).numpy()


# ---- numbers


def test_numbers_are_a_function_of_seed_epoch_and_index() -> None:
    """And of each of them: no two of these are the same."""
    keys = [(seed, epoch, index) for seed in (0, 1, 2**31 - 1) for epoch in (0, 1, 7) for index in (0, 1, 7)]
    drawn = {key: augment.random_numbers(key[0], tf.constant(key[1]), tf.constant(key[2])).numpy() for key in keys}
    for seed, epoch, index in keys:
        again = augment.random_numbers(seed, tf.constant(epoch, tf.int64), tf.constant(index, tf.int32)).numpy()
        np.testing.assert_array_equal(again, drawn[seed, epoch, index])
    assert len({values.tobytes() for values in drawn.values()}) == len(keys)


def test_known_numbers() -> None:
    """A change here means that no old run can be repeated."""
    first = augment.random_numbers(3, tf.constant(2, tf.int64), tf.constant(5)).numpy()
    known = [0.12920773, 0.714154005, 0.933029056, 0.925089002, 0.269850373, 0.574231863, 0.262589693, 0.521373153]
    np.testing.assert_array_equal(first, np.array(known, np.float32))


@pytest.mark.parametrize("parallel", [None, 1, 2, 5])
def test_the_same_inside_a_dataset_whatever_the_workers(parallel: int | None) -> None:
    config = AugmentConfig(scale=[0.5, 2.0], flip=True, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)
    labels = np.random.default_rng(0).integers(0, 200, (20, 27), np.uint8)

    def crop_at(epoch: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        drawn = augment.random_numbers(9, epoch, index)
        box = augment.crop_box(tf.constant(labels.shape), 16, config, drawn)
        return *augment.warp(tf.constant(coded(labels)), tf.constant(labels), box, 16), drawn

    def colour(images: tf.Tensor, masks: tf.Tensor, drawn: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return augment.jitter_colours(images, drawn, config), masks

    keys = [(epoch, index) for epoch in range(3) for index in range(8)]
    stream = tf.data.Dataset.from_tensor_slices(tuple(tf.constant(part, tf.int64) for part in zip(*keys, strict=True)))
    stream = stream.map(crop_at, num_parallel_calls=parallel).batch(4).map(colour, num_parallel_calls=parallel)
    for number, (images, masks) in enumerate(stream):
        crops = [crop_at(*(tf.constant(part, tf.int64) for part in key)) for key in keys[4 * number : 4 * number + 4]]
        expected = colour(*(tf.stack(part) for part in zip(*crops, strict=True)))
        np.testing.assert_array_equal(images, expected[0])
        np.testing.assert_array_equal(masks, expected[1])


# ---- the crop


def expected_window(side: int, crop: int, zoom: float, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """Where a crop's samples lie along one side of the picture, in pixels, and which of them are in the picture."""
    window = crop / zoom
    room = side - window
    start = np.floor(unit * (np.floor(abs(room)) + 1)) * np.sign(room)
    first, last = start + 0.5 * window / crop - 0.5, start + (crop - 0.5) * window / crop - 0.5
    if room >= 0:
        first, last = max(first, 0), min(last, side - 1)
    at = np.linspace(first, last, crop)
    return at, (at >= -1e-9) & (at <= side - 1 + 1e-9)


@dataclass
class Expected:
    """A crop sampled one pixel after the other, and where rounding may decide otherwise."""

    image: np.ndarray
    mask: np.ndarray
    sure: np.ndarray


def sample(labels: np.ndarray, crop: int, zoom: float, units: tuple[float, float]) -> Expected:
    image = np.full((crop, crop, 3), augment.OUTSIDE)
    mask = np.full((crop, crop), VOID, np.uint8)
    sure = np.ones((crop, crop), bool)
    (rows, row_inside), (columns, column_inside) = (
        expected_window(side, crop, zoom, unit) for side, unit in zip(labels.shape, units, strict=True)
    )
    colours = coded(labels).astype(float)
    for i, y in enumerate(rows):
        for j, x in enumerate(columns):
            for at, side in ((y, labels.shape[0]), (x, labels.shape[1])):
                on_edge = 0 < min(abs(at), abs(at - side + 1)) < 2e-3
                sure[i, j] &= abs(at - np.floor(at) - 0.5) > 2e-3 and not on_edge
            if not (row_inside[i] and column_inside[j]):
                continue
            top, left = int(max(y, 0)), int(max(x, 0))
            bottom, right = min(top + 1, labels.shape[0] - 1), min(left + 1, labels.shape[1] - 1)
            down, along = y - top, x - left
            upper = colours[top, left] * (1 - along) + colours[top, right] * along
            lower = colours[bottom, left] * (1 - along) + colours[bottom, right] * along
            image[i, j] = upper * (1 - down) + lower * down
            mask[i, j] = labels[int(np.floor(y + 0.5)), int(np.floor(x + 0.5))]
    return Expected(image, mask, sure)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 30), st.integers(2, 30), st.integers(8, 20), st.floats(0.4, 2.5), units, units, st.booleans())
def test_against_a_slow_sampler(
    height: int, width: int, crop: int, zoom: float, top: float, left: float, flip: bool
) -> None:
    labels = np.random.default_rng(height * 31 + width).integers(0, 240, (height, width), np.uint8)
    config = AugmentConfig(scale=[zoom, zoom], flip=flip, brightness=0, contrast=0, saturation=0, hue=0)
    zoom = crop / float(np.float32(crop) / np.exp(np.float32(np.log(zoom))))  # as rounded to float32
    for side in (height, width):
        if abs(side - crop / zoom - round(side - crop / zoom)) < 1e-4 and zoom != 1:
            return  # rounding decides how much room there is
    image, mask = crop_of(labels, crop, config, numbers(top=top, left=left, flip=0.1))
    expected = sample(labels, crop, zoom, (top, left))
    turn = np.s_[:, ::-1] if flip else np.s_[:, :]
    np.testing.assert_array_equal(mask[turn][expected.sure], expected.mask[expected.sure])
    # A thousandth of a pixel and half a level of rounding.
    assert np.abs(image[turn] - expected.image)[expected.sure].max(initial=0) < 1.01


@settings(max_examples=100, deadline=None)
@given(st.integers(2, 300), st.integers(2, 60), st.integers(8, 200), units, units, st.booleans())
@example(281, 3, 252, 0.0, 0.0, True)  # found by search: without EDGE_MARGIN these lose an edge
@example(208, 3, 353, 0.0, 0.999999, False)
@example(40, 40, 40, 0.5, 0.5, False)
def test_scale_1_copies_pixels(height: int, width: int, crop: int, top: float, left: float, flip: bool) -> None:
    """A window of the picture, edges included, or the whole picture somewhere in the window; mirrored as a whole."""
    labels = np.random.default_rng(height).choice(np.array([0, 254], np.uint8), (height, width))
    image, mask = crop_of(labels, crop, FLIPPED if flip else PLAIN, numbers(top=top, left=left, flip=0.1))
    if flip:
        image, mask = image[:, ::-1], mask[:, ::-1]
    places = []
    for side, unit in ((height, top), (width, left)):
        room = side - crop
        start = int(unit * (abs(room) + 1)) * (1 if room >= 0 else -1)
        source = slice(max(start, 0), min(start + crop, side))
        places.append((source, slice(source.start - start, source.stop - start)))
    expected_mask = np.full((crop, crop), VOID)
    expected_image = np.full((crop, crop, 3), 124)
    expected_mask[places[0][1], places[1][1]] = labels[places[0][0], places[1][0]]
    expected_image[places[0][1], places[1][1]] = coded(labels)[places[0][0], places[1][0]]
    np.testing.assert_array_equal(mask, expected_mask)
    np.testing.assert_array_equal(image, expected_image)


@settings(max_examples=80, deadline=None)
@given(st.integers(2, 40), st.integers(2, 40), st.integers(8, 24), st.tuples(units, units, units, units))
def test_only_labels_of_the_source(
    height: int, width: int, crop: int, drawn: tuple[float, float, float, float]
) -> None:
    labels = np.random.default_rng(width).choice(np.array([0, 40, 80, 120, 160, 200], np.uint8), (height, width))
    config = AugmentConfig(scale=[0.3, 3.0], flip=True, brightness=0, contrast=0, saturation=0, hue=0)
    image, mask = crop_of(labels, crop, config, numbers(*drawn))
    assert set(np.unique(mask)) <= {*np.unique(labels), VOID}
    assert (image[mask == VOID] == 124).all()


def test_the_image_lies_on_its_mask() -> None:
    """Over many crops, colours agree with labels but for the borders of patches; shifted by two pixels they do not."""
    rng = np.random.default_rng(0)
    labels = np.kron(rng.permutation(64).reshape(8, 8) * 3, np.ones((8, 8))).astype(np.uint8)
    config = AugmentConfig(scale=[0.6, 2.0], flip=True, brightness=0, contrast=0, saturation=0, hue=0)
    agree, shifted = [], []
    for _ in range(30):
        image, mask = crop_of(labels, 32, config, numbers(*rng.random(4)))
        difference = np.abs(image[..., 0].astype(int) - mask)
        agree.append((difference <= 1)[mask != VOID].mean())
        shifted.append((np.abs(image[:, 2:, 0].astype(int) - mask[:, :-2]) <= 1)[mask[:, :-2] != VOID].mean())
    assert np.mean(agree) > 0.72
    assert np.mean(shifted) < np.mean(agree) - 0.1


def test_a_flip_mirrors_image_and_mask_together() -> None:
    labels = np.random.default_rng(0).integers(0, 240, (20, 33), np.uint8)
    for zoom in (0.4, 1.0, 1.7):
        config = AugmentConfig(scale=[zoom, zoom], flip=True, brightness=0, contrast=0, saturation=0, hue=0)
        image, mask = crop_of(labels, 16, config, numbers(flip=0.7))
        mirrored_image, mirrored_mask = crop_of(labels, 16, config, numbers(flip=0.2))
        difference = np.abs(image[:, ::-1].astype(int) - mirrored_image)
        assert difference.max() <= 1 and (difference > 0).mean() < 0.02  # a rounding here and there
        assert (mask[:, ::-1] == mirrored_mask).mean() > 0.98
        if zoom == 1.0:
            np.testing.assert_array_equal(mask[:, ::-1], mirrored_mask)


@pytest.mark.parametrize("side", [40, 16, 9])
def test_every_start_is_as_likely(side: int) -> None:
    """Larger than the window, as large, smaller: chi-squared of where row and column of the crop begin."""
    starts = abs(side - 16) + 1
    drawn = np.random.default_rng(side).random((40 * starts, 8)).astype(np.float32)
    boxes = boxes_of(side, 16, PLAIN, tf.constant(drawn))
    corners = np.abs(np.round(boxes[:, :2] * (side - 1))).astype(int)  # (draws, 2)
    counts = np.stack([np.bincount(corners[:, axis], minlength=starts) for axis in (0, 1)])
    assert counts.shape == (2, starts)
    for axis in (0, 1):
        assert (counts[axis] > 0).all()
        assert ((counts[axis] - 40) ** 2 / 40).sum() < starts + 5 * np.sqrt(2 * starts) + 1


def test_zoom_is_log_uniform_and_half_are_flipped() -> None:
    config = AugmentConfig(scale=[0.5, 2.0], flip=True, brightness=0, contrast=0, saturation=0, hue=0)
    numbers_of = tf.function(lambda index: augment.random_numbers(1, 0, index))
    drawn = np.stack([numbers_of(index) for index in tf.range(400)])
    top, left, bottom, right = boxes_of(1000, 101, config, tf.constant(drawn)).T * 999
    zooms, flips = np.log2(100 / (bottom - top)), (right < left).sum()
    np.testing.assert_allclose(np.abs(right - left), bottom - top, atol=0.6)  # half a pixel where the edge clamps
    assert 160 < flips < 240  # 200 expected, 10 standard deviation
    quartiles = np.quantile(zooms, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(quartiles, [-1, -0.5, 0, 0.5, 1], atol=0.12)


def test_no_flip_where_it_is_off() -> None:
    for flip in (0.0, 0.3, 0.7):
        _, left, _, right = augment.crop_box(tf.constant([30, 30]), 16, PLAIN, numbers(flip=flip)).numpy()
        assert left < right
