"""Masks are paired with their images in any of the arrangements that people have."""

import pytest

from pipeline.convert.pairs import pair_files
from pipeline.data.file_roles import has_masks

ARRANGEMENTS = {
    "two folders": (["images/a.jpg", "masks/a.png"], ("a", None)),
    "a suffix": (["imgs/a.jpg", "gt/a_mask.png"], ("a", None)),
    "a prefix": (["image/image_1.png", "label/label_1.png"], ("image_1", None)),
    "next to each other": (["a.jpg", "a_mask.png"], ("a", None)),
    "of one name": (["a.jpg", "a.png"], ("a", None)),
    "of one name, in upper case": (["a.JPG", "a.png"], ("a", None)),
    "of one name, .jpeg": (["a.jpeg", "a.png"], ("a", None)),
    "prefixes next to each other": (["img_1.png", "mask_1.png"], ("img_1", None)),
    "other prefixes": (["image_1.png", "label_1.png"], ("image_1", None)),
    "suffixes next to each other": (["a_image.png", "a_mask.png"], ("a_image", None)),
    "CamVid's suffix": (["701/a.png", "labels/701/a_L.png"], ("701/a", None)),
    "Roboflow": (["valid/a.rf.1f.jpg", "valid/a.rf.1f_mask.png", "valid/_classes.csv"], ("a.rf.1f", "val")),
    "a folder for each split": (["train/images/a.jpg", "train/masks/a.png"], ("a", "train")),
    "splits within": (["images/test/x/a.jpg", "masks/test/x/a.png"], ("x/a", "test")),
    "splits and roles in one name": (["train_images/a.jpg", "train_masks/a.gif"], ("a", "train")),
    "Carvana": (["train/a.jpg", "train_masks/a_mask.gif"], ("a", "train")),
    "SegNet's CamVid": (["val/a.png", "valannot/a.png"], ("a", "val")),
    "ISIC": (["data/ISIC_1.jpg", "gt/ISIC_1_segmentation.png"], ("data/ISIC_1", None)),
    "a suffix of one's own": (["images/a.tif", "masks/a_watershed.png"], ("a", None)),
    "VOC": (["JPEGImages/a.jpg", "SegmentationClass/a.png", "SegmentationObject/a.png"], ("a", None)),
    "labelme2voc": (["JPEGImages/a.jpg", "SegmentationClassPNG/a.png", "SegmentationClass/a.npy"], ("a", None)),
    "decomposed": (["images/caf\u00e9.jpg", "masks/cafe\u0301.png"], ("caf\u00e9", None)),
}  # fmt: skip


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_an_arrangement_is_recognised(name: str) -> None:
    paths, (example_id, split) = ARRANGEMENTS[name]
    found = pair_files(paths)
    assert has_masks(paths)  # so that the source is recognised
    (pair,) = found.pairs
    assert (pair.id, pair.split) == (example_id, split)
    assert (pair.image, pair.masks) == (paths[0], [paths[1]])
    assert found.images == [] and found.masks == []


def test_numbers_are_no_suffixes() -> None:
    found = pair_files(["images/a_1.png", "images/a_10.png", "masks/a_1.png", "masks/a_10.png"])
    assert [(pair.image, pair.masks) for pair in found.pairs] == [
        ("images/a_1.png", ["masks/a_1.png"]),
        ("images/a_10.png", ["masks/a_10.png"]),
    ]


def test_masks_of_one_class_or_object_each() -> None:
    classes = pair_files(["images/a.jpg", "masks/cat/a.png", "masks/dog/a.png"])
    assert [(pair.masks, pair.labels) for pair in classes.pairs] == [
        (["masks/cat/a.png", "masks/dog/a.png"], ["cat", "dog"])
    ]
    objects = pair_files(["train/7/images/7.png", "train/7/masks/b1.png", "train/7/masks/c2.png"])
    assert [(pair.id, pair.labels, pair.split) for pair in objects.pairs] == [("7/7", ["object"] * 2, "train")]


def test_folders_can_be_named() -> None:
    found = pair_files(["one/a.png", "two/a.png", "three/a.png"], images="two", masks="one")
    assert [(pair.image, pair.masks) for pair in found.pairs] == [("two/a.png", ["one/a.png"])]


def test_the_same_name_in_two_splits_gives_two_ids() -> None:
    paths = [f"{split}/{kind}/a.png" for split in ("train", "val") for kind in ("images", "masks")]
    assert [pair.id for pair in pair_files(paths).pairs] == ["train/a", "val/a"]


def test_what_has_no_counterpart_is_listed() -> None:
    found = pair_files(["images/a.jpg", "images/b.jpg", "masks/a.png", "masks/c.png"])
    assert found.images == ["images/b.jpg"] and found.masks == ["masks/c.png"]
    assert "images: images/; masks: masks/" in found.rule
