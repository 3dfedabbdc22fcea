"""Masks of several files each: one for each class, or for each object."""

from pathlib import Path

import numpy as np

from pipeline.config.dataset_file import read_dataset_file
from tests.convert.sources import (
    NAMES,
    assert_masks,
    converted,
    drawn_image,
    index_mask,
    indices,
    masks_of,
    save,
)


def test_masks_of_one_class_each(tmp_path: Path) -> None:
    source = tmp_path / "s"
    for number, name in enumerate(NAMES):
        save(source / f"images/{name}.jpg", drawn_image(number))
        for index, label in enumerate(("cat", "dog"), 1):
            save(source / f"masks/{label}/{name}.png", (index_mask(number) == index).astype(np.uint8) * 255)
    output = converted(source)
    assert_masks(output, indices())
    assert read_dataset_file(output / "dataset.yaml")["classes"] == ["background", "cat", "dog"]


def test_a_class_folder_names_the_class_of_an_image_with_one_mask(tmp_path: Path) -> None:
    """If the masks of a folder have more than one class, it is a batch."""
    source, batches = tmp_path / "s", tmp_path / "b"
    labels = ("cat", "dog")
    for number, name in enumerate(NAMES):
        label, mask = labels[number % 2], index_mask(number)
        for root, values in ((source, (mask > 0).astype(np.uint8) * 255), (batches, mask)):
            save(root / f"images/{name}.jpg", drawn_image(number))
            save(root / f"masks/{label}/{name}.png", values)
    found = masks_of(converted(source))
    for number, name in enumerate(NAMES):
        assert np.array_equal(found[name], (index_mask(number) > 0) * (1 + number % 2))
    assert_masks(converted(batches), indices())


def test_numbered_masks_are_one_mask_of_the_class_that_is_named(tmp_path: Path) -> None:
    """Two lesions of one image, as ultrasound sets have them."""
    source = tmp_path / "s"
    for number, name in enumerate(NAMES):
        save(source / f"{name}.png", drawn_image(number))
        for index, place in ((1, ""), (2, "_1")):
            save(source / f"{name}_mask{place}.png", (index_mask(number) == index).astype(np.uint8) * 255)
    expected = {name: (index_mask(number) > 0).astype(np.uint8) for number, name in enumerate(NAMES)}
    output = converted(source)
    assert_masks(output, expected)
    assert read_dataset_file(output / "dataset.yaml")["classes"] == ["background", "object"]
    output = converted(source, "classes=[background,lesion]", "overwrite=true")
    assert_masks(output, expected)
    assert read_dataset_file(output / "dataset.yaml")["classes"] == ["background", "lesion"]
