"""Files of several splits that are checked together: copies, near copies, and palettes."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from pipeline.data.check import check_dataset
from pipeline.data.palette import voc_palette
from pipeline.runtime.errors import UserError
from tests.data.folders import CLASSES, Folder, assert_same, example_of, splits_of


def test_images_of_two_splits_with_the_same_bytes_are_refused(voc_folder: Folder, tmp_path: Path) -> None:
    """Named pair by pair, with the other faults; also if the result of the check was stored."""
    root = voc_folder(train=4, val=2, test=2)
    check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    for one, other in (("train_1", "val_0"), ("train_1", "test_1"), ("val_1", "test_0"), ("train_2", "train_3")):
        shutil.copy(example_of(root, one).image, example_of(root, other).image)
        shutil.copy(example_of(root, one).mask, example_of(root, other).mask)
    with pytest.raises(UserError) as raised:
        check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    end = "split): each image may be in one split only; take one of the two ids out of its list"
    assert raised.value.faults == (
        f"JPEGImages/val_0.jpg (val split) has the same bytes as JPEGImages/train_1.jpg (train {end}",
        f"JPEGImages/test_0.jpg (test split) has the same bytes as JPEGImages/val_1.jpg (val {end}",
        f"JPEGImages/test_1.jpg (test split) has the same bytes as JPEGImages/train_1.jpg (train {end}",
    )


def test_blank_images_may_be_in_two_splits(voc_folder: Folder, tmp_path: Path) -> None:
    """Such as tiles outside of a map, with equal masks of background; and damaged ones are no copies but faults."""
    root = voc_folder()
    for name in ("train_0", "val_0"):
        Image.new("RGB", (32, 24), (255, 255, 255)).save(example_of(root, name).image)
        Image.new("L", (32, 24)).save(example_of(root, name).mask)
    assert check_dataset(splits_of(root), CLASSES, tmp_path / "checked").warnings == []
    for name in ("train_1", "val_1"):
        example_of(root, name).image.write_bytes(b"")
    with pytest.raises(UserError) as raised:
        check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    assert len(raised.value.faults) == 2 and all("its header is damaged" in fault for fault in raised.value.faults)


def test_near_copies_masks_and_palettes_are_told(voc_folder: Folder, tmp_path: Path, decoded: list[str]) -> None:
    """Stored with the result, and without an influence on the digest."""
    root = voc_folder(size=(48, 64))
    Image.open(example_of(root, "train_1").image).save(example_of(root, "val_0").image, quality=60)
    shutil.copy(example_of(root, "train_1").mask, example_of(root, "val_0").mask)
    shutil.copy(example_of(root, "train_2").mask, example_of(root, "test_1").mask)
    mask = Image.open(example_of(root, "test_0").mask)
    mask.putpalette([0, 0, 0, 255, *voc_palette().ravel()[4:].tolist()])
    mask.save(example_of(root, "test_0").mask)
    first = check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    assert first.warnings == [
        "JPEGImages/: near copies in two splits: val_0 (val) and train_1 (train); scores on near copies of training "
        "images are too high: keep them, and images of one scene, in one split",
        "SegmentationClass/: the same bytes in two splits, though their images differ: test_1 (test) and train_2 "
        "(train); look whether each mask belongs to its image, and whether the images are copies",
        "palettes disagree: index 1 (cat) is #800000 in SegmentationClass/train_0.png and #ff0000 in "
        "SegmentationClass/test_0.png; colours are not used, indices are: look whether these files mean the same "
        "classes by them",
    ]
    decoded.clear()
    assert_same(check_dataset(splits_of(root), CLASSES, tmp_path / "checked"), first)
    assert decoded == []
    rows = {split: [[name, *hashes] for name, *hashes in rows] for split, rows in first.contents.items()}
    content = json.dumps({"classes": CLASSES, "splits": rows})
    assert first.digest == hashlib.sha256(content.encode()).hexdigest()
