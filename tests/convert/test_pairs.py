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


def masks_by_image(paths: list[str]) -> dict[str, list[tuple[str, str | None]]]:
    """Image -> its masks and their labels."""
    return {pair.image: list(zip(pair.masks, pair.labels, strict=True)) for pair in pair_files(paths).pairs}


def test_a_class_folder_names_the_class_of_an_image_with_one_mask() -> None:
    images = ["images/a.jpg", "images/b.jpg", "images/c.jpg"]
    both = ["masks/cat/a.png", "masks/dog/b.png", "masks/cat/c.png", "masks/dog/c_mask.png"]
    assert masks_by_image([*images, *both]) == {
        "images/a.jpg": [("masks/cat/a.png", "cat")],
        "images/b.jpg": [("masks/dog/b.png", "dog")],
        "images/c.jpg": [("masks/cat/c.png", "cat"), ("masks/dog/c_mask.png", "dog")],
    }
    one_each = pair_files([*images, *both[:3]])
    assert [pair.labels for pair in one_each.pairs] == [["cat"], ["dog"], ["cat"]]
    assert one_each.unsure == one_each.pairs  # until their values are known
    for folders in (("batch_1", "batch_2"), ("cat", "cat")):  # batches; and one folder, which tells nothing apart
        paths = ["images/a.jpg", "images/b.jpg", f"masks/{folders[0]}/a.png", f"masks/{folders[1]}/b.png"]
        assert [pair.labels for pair in pair_files(paths).pairs] == [[None], [None]]


def test_a_class_may_be_called_as_a_folder_around_it() -> None:
    paths = ["road/images/1.png", "road/images/2.png", "road/masks/road/1.png", "road/masks/road/2.png",
             "road/masks/car/1.png"]  # fmt: skip
    found = masks_by_image(paths)
    assert found["road/images/1.png"] == [("road/masks/road/1.png", "road"), ("road/masks/car/1.png", "car")]
    assert found["road/images/2.png"] == [("road/masks/road/2.png", "road")]


def test_a_mask_is_not_given_to_another_patient() -> None:
    """Whose slices have the same numbers, and whose masks are missing."""
    paths = [f"{kind}/{patient}/00{slice_}.png" for kind, patients in (("images", "pq"), ("masks", "pr"))
             for patient in patients for slice_ in (1, 2)]  # fmt: skip
    found = pair_files(paths)
    assert [(pair.image, pair.masks) for pair in found.pairs] == [
        ("images/p/001.png", ["masks/p/001.png"]),
        ("images/p/002.png", ["masks/p/002.png"]),
    ]
    assert found.images == ["images/q/001.png", "images/q/002.png"]
    assert found.masks == ["masks/r/001.png", "masks/r/002.png"]
    lone = pair_files(["Original/1.tif", "Ground Truth/1.tif"])
    assert [(pair.image, pair.masks) for pair in lone.pairs] == [("Original/1.tif", ["Ground Truth/1.tif"])]


@pytest.mark.parametrize(
    ("image", "masks"),
    [
        ("images/a.jpg", ["masks/a_0.png", "masks/a_1.png"]),
        ("images/a.jpg", ["masks/a_mask_1.png", "masks/a_mask_2.png", "masks/a_mask_12.png"]),
        ("images/a.jpg", ["masks/a_1_mask.png", "masks/a_2_mask.png"]),
        ("benign (1).png", ["benign (1)_mask.png", "benign (1)_mask_1.png"]),
        ("images/cafe\u0301.jpg", ["masks/caf\u00e9_0.png", "masks/caf\u00e9_1.png"]),
    ],
)
def test_numbered_masks_are_objects_of_one_image(image: str, masks: list[str]) -> None:
    found = pair_files([image, *masks])
    (pair,) = found.pairs
    assert (pair.image, pair.masks, pair.labels) == (image, masks, ["object"] * len(masks))
    assert found.images == [] and found.masks == []


def test_numbers_of_images_are_no_objects() -> None:
    """The image of a mask is missing, and another one has the name without the number."""
    found = pair_files([f"{kind}/IMG{number}.png" for kind in ("images", "masks") for number in ("", "_1")]
                       + ["masks/IMG_2.png"])  # fmt: skip
    assert [pair.masks for pair in found.pairs] == [["masks/IMG.png"], ["masks/IMG_1.png"]]
    assert found.masks == ["masks/IMG_2.png"]
    alone = pair_files(["images/IMG.png", "masks/IMG.png", "masks/IMG_1.png"])
    assert [pair.masks for pair in alone.pairs] == [["masks/IMG.png"]] and alone.masks == ["masks/IMG_1.png"]
    each = pair_files(["images/a.png", "images/b.png", "masks/a_0.png", "masks/b_0.png"])
    assert [(pair.masks, pair.labels) for pair in each.pairs] == [(["masks/a_0.png"], [None]),
                                                                  (["masks/b_0.png"], [None])]  # fmt: skip


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
