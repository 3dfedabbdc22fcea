"""Formats of other tools are recognised, and a folder that is not in VOC layout is answered with the command."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.recognise import convert_command, recognise

FILES = {
    "masks": ["images/a.jpg", "labels/a.png"],
    "masks by suffix": ["a.jpg", "a_mask.png"],
    "masks of one name": ["x/a.jpg", "x/a.png"],
    "masks of one name, in upper case": ["a.JPG", "a.png"],
    "masks of one name, .jpeg": ["a.jpeg", "a.png"],
    "masks by prefix, of img": ["img_1.png", "mask_1.png"],
    "masks by prefix, of image": ["image_1.png", "label_1.png"],
    "masks by suffix, of image": ["a_image.png", "a_mask.png"],
    "masks in NumPy files by suffix": ["a.jpg", "a_mask.npy"],
    "masks in NumPy files of their own folder": ["images/a.jpg", "masks/a_watershed.npy"],
    "nothing: an array that is no mask": ["a.jpg", "features.npy"],
    "nothing: a suffix in another folder": ["x/a.jpg", "y/a_mask.png"],
    "nothing: masks alone": ["masks/a.png", "overlays/a.png"],
    "cityscapes": ["leftImg8bit/train/a/x_leftImg8bit.png", "gtFine/train/a/x_gtFine_labelIds.png"],
    "cityscapes as KITTI": ["training/image_2/a.png", "training/semantic/a.png", "testing/image_2/b.png"],
    "masks in NumPy files": ["a.jpg", "a.npy"],
    "ade20k in full": ["images/ADE/training/ADE_train_1.jpg", "images/ADE/training/ADE_train_1_seg.png"],
    "ade20k": ["images/training/ADE_train_1.jpg", "annotations/training/ADE_train_1.png"],
    "ade20k by its list of classes": ["images/training/a.jpg", "annotations/training/a.png", "objectInfo150.txt"],
    "masks in ADE20K's folders": ["images/training/a.png", "annotations/training/a.png"],
    "masks in ADE20K's folders, by suffix": ["images/validation/a_01L.png", "annotations/validation/a_01L_1stHO.png"],
    "labelme": [("a.json", {"version": "5", "flags": {}, "shapes": []}), "a.jpg"],
    "coco": [("annotations/instances_train.json", {"info": {}, "images": [], "annotations": []}), "train/a.jpg"],
    "supervisely": [("ds/ann/a.jpg.json", {"description": "", "tags": [], "objects": []}), "ds/img/a.jpg"],
    "cvat": [("annotations.xml", "<?xml version='1.0'?><annotations><version>1.1</version></annotations>"), "a.jpg"],
    "nothing": ["a.jpg", "b.jpg", ("x.json", {"a": 1}), ("x.xml", "<b/>"), "photos/c.jpg"],
}


def test_folders_without_telling_names(tmp_path: Path) -> None:
    for number in range(3):
        for folder, most in (("a", 255), ("b c", 3)):
            path = tmp_path / folder / "train" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, most, (24, 32), np.uint8)
            Image.fromarray(pixels).save(path)
    found = recognise(tmp_path)
    assert found is not None and found.arguments == ("images=a", "masks=b c")
    assert "a/ and b c/ have files of the same names, which in b c/ hold few values" in found.why
    assert convert_command(tmp_path, *found.arguments).endswith("images=a 'masks=b c'")
    (tmp_path / "b c").rename(tmp_path / "b")
    shutil.copytree(tmp_path / "b", tmp_path / "d")  # two folders may be the masks
    assert recognise(tmp_path) is None


@pytest.mark.parametrize("name", FILES)
def test_a_format_is_recognised(tmp_path: Path, name: str) -> None:
    for file in FILES[name]:
        path, content = (file, "") if isinstance(file, str) else file
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content if isinstance(content, str) else json.dumps(content))
    found = recognise(tmp_path)
    assert (found.format if found else "nothing") == name.split()[0].strip(":")


@pytest.mark.parametrize(
    "names",
    [
        ["images/{:02}.jpg", "masks/{:02}.png"],
        ["train/images/{:02}.jpg", "train/masks/{:02}.png"],
        ["{:02}.jpg", "{:02}_mask.png"],
    ],
)
def test_folders_with_more_files_than_are_looked_at(
    tmp_path: Path, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in [tmp_path / name.format(number) for name in names for number in range(30)]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr("pipeline.data.recognise.MOST_NAMES", 8)
    monkeypatch.setattr("pipeline.data.recognise.MOST_FILES", 20)  # fewer than there are in one folder
    found = recognise(tmp_path)
    assert found is not None and found.format == "masks"


def test_the_command_can_be_pasted(tmp_path: Path) -> None:
    words = shlex.split(convert_command(tmp_path / "it's mine"))
    assert words[3:] == [f"source={tmp_path / chr(39).join(['it', 's mine'])}", "output=it's mine-voc"]
