"""Folders that are not in VOC layout: the message says what lies there, and its commands make the layout."""

import json
from pathlib import Path

import pytest

from pipeline.data.voc import find_examples
from pipeline.runtime.errors import UserError
from tests.data.advice import type_advice
from tests.data.folders import Folder, dataset

NO_VAL = dataset(val=None, test="val")


def refused(root: Path) -> tuple[str, ...]:
    with pytest.raises(UserError) as raised:
        find_examples(root, NO_VAL)
    return raised.value.faults


@pytest.fixture
def loose(voc_folder: Folder) -> Path:
    """Images and masks without lists, as most people have them."""
    root = voc_folder(train=12, name="the 'VOC' ü")
    (root / "JPEGImages").rename(root / "images")
    (root / "SegmentationClass").rename(root / "Masks")
    for file in (root / "ImageSets/Segmentation").iterdir():
        file.unlink()
    (root / "ImageSets/Segmentation").rmdir()
    (root / "ImageSets").rmdir()
    return root


def test_images_and_masks_without_lists(loose: Path) -> None:
    seen, recipe = refused(loose)
    assert "it has Masks/ (16 .png), images/ (16 .jpg); a folder with JPEGImages/, " in seen
    type_advice([recipe], loose.parent)
    splits, faults = find_examples(loose, NO_VAL)
    assert not faults and sum(map(len, splits.values())) == 16
    assert [example.id for example in splits["test"]] == ["train_5"]  # the tenth by name


def test_masks_with_a_suffix_need_two_steps(loose: Path) -> None:
    for path in list((loose / "Masks").iterdir()):
        path.rename(path.with_stem(f"{path.stem}_mask"))
    type_advice([refused(loose)[1]], loose.parent)
    type_advice(find_examples(loose, NO_VAL)[1], loose.parent)
    assert not find_examples(loose, NO_VAL)[1]


def test_outlines_in_json_are_named(loose: Path) -> None:
    for path in list((loose / "Masks").iterdir()):
        path.with_suffix(".json").write_text(json.dumps({"version": "5", "shapes": [], "imagePath": path.name}))
        path.unlink()
    (loose / "instances.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    (fault,) = refused(loose)  # without masks, there is nothing to link
    assert "Masks/ (16 .json, outlines of labelme, not masks)" in fault
    assert "instances.json (outlines of COCO, not masks)" in fault


@pytest.mark.parametrize("deep", ["VOC2012", "VOCdevkit/VOC2012"])
def test_a_root_that_is_too_high(voc_folder: Folder, tmp_path: Path, deep: str) -> None:
    root = voc_folder(name=f"top/{deep}")
    (fault,) = refused(tmp_path / "top")
    assert f"(did you mean '{root}'?)" in fault


def test_a_root_that_is_misspelt_or_a_file(voc_folder: Folder, tmp_path: Path) -> None:
    root = voc_folder(name="VOC2012")
    assert "VOC2021: folder not found (did you mean 'VOC2012'?)" in refused(tmp_path / "VOC2021")[0]
    (root / "voc.zip").touch()
    assert "voc.zip: is a file; a folder with" in refused(root / "voc.zip")[0]
