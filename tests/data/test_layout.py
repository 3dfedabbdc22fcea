"""Folders that are not in VOC layout: the message says what lies there, and its commands make the layout."""

import json
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from pipeline.convert.__main__ import main
from pipeline.data.voc import find_examples
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import ROOT
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


def test_images_and_masks_without_lists(loose: Path, tmp_path: Path) -> None:
    seen, advice = refused(loose)
    assert "it has Masks/ (16 .png), images/ (16 .jpg); a folder with JPEGImages/, " in seen
    assert "looks like masks (it has 16 .jpg, 16 .png, of which some are masks by their names)" in advice
    type_advice([advice.replace("type: python", f"type: cd {tmp_path} && {sys.executable}")], ROOT)
    splits, faults = find_examples(tmp_path / "the 'VOC' ü-voc", NO_VAL)
    assert not faults and sum(map(len, splits.values())) > 10


def test_masks_without_a_telling_name(loose: Path, tmp_path: Path) -> None:
    for old, new in (("images", "one"), ("Masks", "two")):
        (loose / old).rename(loose / new)
    _, advice = refused(loose)
    assert advice.endswith(" images=one masks=two 'classes=[background, cat, dog]'")
    arguments = shlex.split(advice.partition("type: ")[2])[3:]
    assert main([*(word for word in arguments if not word.startswith("output=")), f"output={tmp_path / 'new'}"]) == 0
    assert not find_examples(tmp_path / "new", NO_VAL)[1]
    values = "values={0: background, 1: cat, 2: dog, 255: void}"
    assert main([f"source={loose}", f"output={tmp_path / 'by values'}", values]) == 0


def test_images_alone_are_answered_with_the_command_to_edit(loose: Path) -> None:
    shutil.rmtree(loose / "Masks")
    _, advice = refused(loose)
    assert "masks are not recognised by the names of folders and files; say where they are: python -m pipe" in advice
    assert advice.endswith(" 'images=<folder>' 'masks=<folder>'")


def test_a_file_of_another_tool_is_answered_with_the_command(tmp_path: Path) -> None:
    (tmp_path / "a b.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    fault, advice = refused(tmp_path / "a b.json")
    assert "a b.json: is a file" in fault
    assert advice.endswith(f"type: python -m pipeline.convert 'source={tmp_path / 'a b.json'}' 'output=a b-voc'")


def test_outlines_in_json_are_named(loose: Path) -> None:
    for path in list((loose / "Masks").iterdir()):
        path.with_suffix(".json").write_text(json.dumps({"version": "5", "shapes": [], "imagePath": path.name}))
        path.unlink()
    (loose / "instances.json").write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    fault, advice = refused(loose)
    assert "Masks/ (16 .json, outlines of labelme, not masks)" in fault
    assert "instances.json (outlines of coco, not masks)" in fault
    assert "looks like coco (instances.json is a file of coco)" in advice


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
