"""Training batches: the batch of a step is a function of (seed, step)."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipeline.config.schema import AugmentConfig, Config
from pipeline.data import augment, decode, stream
from pipeline.data.palette import voc_palette
from pipeline.data.sampling import shuffled_indices
from pipeline.data.stream_map import parallel_map
from pipeline.data.training_images import FileImages, TrainingImages
from pipeline.data.voc import Example
from pipeline.runtime.seeds import derive_seed
from tests.data.augmentations import IDENTITY, STANDARD, STRONG
from tests.data.folders import MIXED_SIZES, Folder, examples_of, sizes_of

Batches = list[tuple[np.ndarray, np.ndarray]]


def config(**values: object) -> Config:
    wanted = Config(image_size=16, long_side=None, batch_size=3, epochs=3, seed=5)
    wanted.augment = STANDARD
    for key, value in values.items():
        assert hasattr(wanted, key)
        setattr(wanted, key, value)
    return wanted


def files(examples: list[Example], long_side: int | None = None) -> FileImages:
    sizes = [decode.working_size(tf.constant(size), long_side).numpy() for size in sizes_of(examples)]
    return FileImages(examples, np.array(sizes), long_side)


def batches(images: TrainingImages, count: int, config: Config, start: int = 0) -> Batches:
    return list(stream.training_stream(images, count, config, start).as_numpy_iterator())


def assert_same(one: Batches, other: Batches) -> None:
    assert len(one) == len(other)
    for (images, masks), (other_images, other_masks) in zip(one, other, strict=True):
        np.testing.assert_array_equal(images, other_images)
        np.testing.assert_array_equal(masks, other_masks)


@pytest.fixture
def examples(voc_folder: Folder) -> list[Example]:
    """Seven images of mixed sizes."""
    return examples_of(voc_folder(train=7, val=0, test=0, size=MIXED_SIZES))


def test_steps_per_epoch_counts_full_batches() -> None:
    assert [stream.steps_per_epoch(7, config(batch_size=batch)) for batch in (1, 2, 3, 7, 8)] == [7, 3, 2, 1, 0]
    assert [stream.steps_per_epoch(images, config(steps=12)) for images in (1, 7, 900)] == [4, 4, 4]


# ---- training


def test_batches_follow_from_seed_epoch_and_indices(examples: list[Example]) -> None:
    """Compared with batches made here, one crop at a time, by functions that have their own tests."""
    wanted = config(long_side=28)
    found = batches(files(examples, 28), 7, wanted)
    assert len(found) == 6  # three epochs of two full batches
    augment_seed, order_seed = derive_seed(5, "augment"), derive_seed(5, "order")
    for step, (images, masks) in enumerate(found):
        assert images.dtype == masks.dtype == np.uint8
        assert images.shape == (3, 16, 16, 3) and masks.shape == (3, 16, 16)
        epoch, part = divmod(step, 2)
        indices = shuffled_indices(order_seed, tf.constant(epoch), 7)[3 * part : 3 * part + 3].numpy()
        crops, labels = [], []
        for index in indices:
            image = decode.scale_image(decode.decode_image(str(examples[index].image)), 28)
            mask = decode.scale_mask(decode.decode_mask(str(examples[index].mask)), 28)
            drawn = augment.random_numbers(augment_seed, tf.constant(epoch), tf.constant([index]))  # for this one alone
            windows = augment.crop_windows(tf.shape(mask)[tf.newaxis], 16, STANDARD, drawn)
            window = augment.Window(*(part[0] for part in windows))
            (top, left), (bottom, right) = tf.unstack(window.start), tf.unstack(window.start + window.extent)
            crop, label = augment.warp(image[top:bottom, left:right], mask[top:bottom, left:right], window, 16)
            matrix, lift = augment.colour_changes(STANDARD, drawn)
            crops.append(augment.change_colours(crop, augment.ColourChange(matrix[0], lift[0])))
            labels.append(label)
        np.testing.assert_array_equal(masks, tf.stack(labels))
        np.testing.assert_array_equal(images, tf.stack(crops))


def test_cutmix_pastes_from_the_next_crop_of_the_batch(examples: list[Example]) -> None:
    """What is pasted where is a function of (seed, epoch, index), as the crops are."""
    images = files(examples)
    plain, mixed = config(), config(augment=dataclasses.replace(STANDARD, cutmix=0.7))
    mix_seed, order_seed = derive_seed(5, "cutmix"), derive_seed(5, "order")
    expected = []
    for step, (crops, masks) in enumerate(batches(images, 7, plain)):
        epoch, part = divmod(step, 2)
        indices = shuffled_indices(order_seed, tf.constant(epoch), 7)[3 * part : 3 * part + 3]
        numbers = tf.concat([augment.random_numbers(mix_seed, tf.constant(epoch), [index]) for index in indices], 0)
        both = augment.cut_and_mix(tf.constant(crops), tf.constant(masks), numbers, 0.7)
        expected.append(tuple(part.numpy() for part in both))
    found = batches(images, 7, mixed)
    assert_same(found, expected)
    assert any((crops != other).any() for (crops, _), (other, _) in zip(found, batches(images, 7, plain), strict=True))


def test_more_epochs_only_add_batches(examples: list[Example]) -> None:
    images = files(examples)
    assert_same(batches(images, 7, config(epochs=4))[:6], batches(images, 7, config()))


@pytest.mark.parametrize(("workers", "augment"), [(1, STANDARD), (2, STRONG), (7, STANDARD), (7, STRONG)])
def test_workers_change_nothing(
    examples: list[Example], workers: int, augment: AugmentConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = files(examples)
    expected = batches(images, 7, config(augment=augment))
    monkeypatch.setattr(tf.data, "AUTOTUNE", workers)
    options = tf.data.Options()
    options.threading.private_threadpool_size = workers
    found = stream.training_stream(images, 7, config(augment=augment)).with_options(options)
    assert_same(list(found.as_numpy_iterator()), expected)


@pytest.mark.parametrize("augment", [STANDARD, STRONG])
def test_a_crop_does_not_depend_on_its_batch(examples: list[Example], augment: AugmentConfig) -> None:
    images = files(examples)
    found, alone = (batches(images, 7, config(augment=augment, batch_size=size, epochs=1)) for size in (3, 1))
    together = [(image[np.newaxis], mask[np.newaxis]) for pair in found for image, mask in zip(*pair, strict=True)]
    assert_same(together, alone[: len(together)])
    assert_same(batches(images, 7, config(augment=augment, batch_size=1, epochs=1), start=4), alone[4:])


def test_labels_of_deformed_crops_are_those_of_their_images(tmp_path: Path) -> None:
    images = files(labelled(tmp_path, 8))
    for pixels, masks in batches(images, 8, config(augment=dataclasses.replace(STRONG, noise=0, blur=0), epochs=2)):
        assert pixels.shape == (3, 16, 16, 3) and pixels.dtype == masks.dtype == np.uint8
        for mask in masks:
            assert len(set(np.unique(mask)) - {255}) == 1


class Slow:
    """Stands for training images: each is filled with its own index, and one of them is late."""

    sizes = tf.constant([[16, 16]] * 8)

    def __init__(self) -> None:
        self.streams: dict[str, Any] = {}

    def rectangle(self, index: tf.Tensor, start: tf.Tensor, extent: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        def wait(index: np.ndarray) -> np.ndarray:
            time.sleep(0.3 * float(index == 3))
            return np.uint8(index)

        label = tf.ensure_shape(tf.numpy_function(wait, [index], tf.uint8), ())
        return tf.fill((16, 16, 3), label), tf.fill((16, 16), label)


def test_late_image_keeps_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tf.data, "AUTOTUNE", 4)
    found = batches(Slow(), 8, config(augment=IDENTITY, batch_size=4, epochs=3))  # type: ignore[arg-type]
    seen = np.array([masks[:, 0, 0] for _, masks in found]).reshape(3, 8)
    for epoch, taken in enumerate(seen):
        np.testing.assert_array_equal(taken, shuffled_indices(derive_seed(5, "order"), tf.constant(epoch), 8))


def labelled(folder: Path, count: int) -> list[Example]:
    """Images whose pixels all hold the index of their example."""
    examples = []
    for index in range(count):
        label = Image.fromarray(np.full((16, 16), index, np.uint8))
        label.putpalette(voc_palette().tobytes())
        label.save(folder / f"mask_{index}.png")
        Image.fromarray(np.full((16, 16, 3), 10 * index, np.uint8)).save(folder / f"{index}.png")
        examples.append(Example(str(index), folder / f"{index}.png", folder / f"mask_{index}.png"))
    return examples


@pytest.mark.parametrize("seed", [0, 1])
def test_epoch_has_no_example_twice(tmp_path: Path, seed: int) -> None:
    examples = labelled(tmp_path, 8)
    wanted = config(augment=IDENTITY, seed=seed, epochs=6)
    found = batches(files(examples), 8, wanted)
    seen = np.array([masks[:, 0, 0] for _, masks in found]).reshape(6, 6)  # (epochs, examples taken)
    for images, masks in found:
        np.testing.assert_array_equal(images[..., 0], 10 * masks)  # each mask with its own image
        assert (masks == masks[:, :1, :1]).all()
    assert all(len(set(epoch)) == 6 for epoch in seen)
    assert len({tuple(epoch) for epoch in seen}) == 6
    assert set(seen.ravel()) == set(range(8))  # what one epoch leaves out, another has
    for epoch, taken in enumerate(seen):
        order = shuffled_indices(derive_seed(seed, "order"), tf.constant(epoch), 8)
        np.testing.assert_array_equal(taken, order[:6])


# ---- a length in steps


def in_steps(**values: object) -> Config:
    return config(augment=IDENTITY, steps=12, **values)


def test_with_steps_batches_go_on_from_pass_to_pass(tmp_path: Path) -> None:
    """No image is left out, and a batch may have more crops than there are images."""
    examples = labelled(tmp_path, 8)
    found = batches(files(examples), 8, in_steps())
    assert len(found) == 12  # of three, so four and a half passes
    seen = np.concatenate([masks[:, 0, 0] for _, masks in found])
    for number in range(4):
        assert sorted(seen[8 * number : 8 * number + 8]) == list(range(8))
    few = batches(files(examples[:2]), 2, in_steps(batch_size=5))
    assert len(few) == 12 and all(set(masks[:, 0, 0]) == {0, 1} for _, masks in few)


def test_a_stream_in_steps_is_resumed_at_any_of_them(examples: list[Example]) -> None:
    wanted, images = config(augment=STANDARD, steps=12, batch_size=5), files(examples)
    whole = batches(images, 7, wanted)
    for start in (1, 2, 7, 11, 12):
        assert_same(batches(images, 7, wanted, start), whole[start:])


def test_more_steps_only_add_batches(examples: list[Example]) -> None:
    images = files(examples)
    assert_same(batches(images, 7, config(steps=15, epochs=5))[:9], batches(images, 7, config(steps=9)))


def test_an_image_twice_in_a_batch_is_cropped_differently(examples: list[Example]) -> None:
    (images, _), *_ = batches(files(examples[:1]), 1, config(steps=3, batch_size=8))
    assert len({image.tobytes() for image in images}) == 8


def test_balanced_passes_in_steps(examples: list[Example]) -> None:
    factors, settings = np.array([1.0, 1, 1, 1, 1, 1, 1e6]), config(steps=6)
    found = list(stream.training_stream(files(examples), 7, settings, 0, factors).as_numpy_iterator())
    assert len(found) == 6
    assert_same(found[4:], list(stream.training_stream(files(examples), 7, settings, 4, factors).as_numpy_iterator()))


def test_another_seed_gives_other_batches(examples: list[Example]) -> None:
    source = files(examples)
    one, other = batches(source, 7, config()), batches(source, 7, config(seed=6))
    assert all((a != b).any() for (a, _), (b, _) in zip(one, other, strict=True))
    contents = [images.tobytes() for images, _ in one]
    assert len(set(contents)) == len(contents)


def test_image_drawn_twice_is_cropped_differently(examples: list[Example]) -> None:
    factors = np.array([1.0, 1, 1, 1, 1, 1, 1e6])
    source, settings = files(examples), config(epochs=1)
    found = list(stream.training_stream(source, 7, settings, 0, factors).as_numpy_iterator())
    crops = [image for images, _ in found for image in images]
    assert len(crops) == 6 and len({crop.tobytes() for crop in crops}) == 6
    again = list(stream.training_stream(source, 7, settings, 1, factors).as_numpy_iterator())
    assert_same(found[1:], again)


def test_image_is_cropped_differently_in_every_epoch(examples: list[Example]) -> None:
    found = batches(files(examples[:1]), 1, config(batch_size=1, epochs=5))
    assert len({images.tobytes() for images, _ in found}) == 5


def test_a_stream_of_another_seed_is_not_traced_again(examples: list[Example]) -> None:
    images = files(examples)
    other = config(seed=1)
    assert_same(batches(images, 7, config()), batches(files(examples), 7, config()))
    assert_same(batches(images, 7, other, 3), batches(files(examples), 7, other, 3))
    assert len(images.streams) == 1 and len(batches(images, 7, config(image_size=8))) and len(images.streams) == 2


def test_end_of_a_stream_does_not_wait_for_the_tuner() -> None:
    assert parallel_map(tf.data.Dataset.range(2), tf.identity).options().autotune.enabled is False
