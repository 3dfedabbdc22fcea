"""Predictions as files of labelling tools, and what `pipeline.convert` reads in them."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.convert.__main__ import main as convert
from pipeline.data.classes import Classes
from pipeline.data.image_files import read_index_mask
from pipeline.predict.annotations import Annotations, Predicted, annotations_of
from pipeline.runtime.errors import UserError

ROTATED = 6  # EXIF orientation: viewers turn it by 90 degrees clockwise
CLASSES = Classes(("cat", "background", "dog & co"), 1, ((1, 2, 3), (0, 0, 0), (255, 128, 0)))


def mask(number: int) -> np.ndarray:
    """A cat with a hole in which a dog is, and another dog, (20, 30) uint8; another one for each number."""
    found = np.ones((20, 30), np.uint8)
    found[2:12, 3 : 14 + number] = 0
    found[4:9, 5:11] = 1
    found[5:8, 6:10] = 2
    found[12:19, 8:29] = 2
    found[12, 28] = 1
    return found


@pytest.fixture
def predicted(tmp_path: Path) -> list[Predicted]:
    """Three images; the file of the last one is to be turned, and was predicted as it is stored."""
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    found = []
    for number, turn in ((2, 1), (0, 1), (1, ROTATED)):
        rng = np.random.default_rng(number)
        exif = Image.Exif()
        exif[0x0112] = turn
        image, stored = tmp_path / f"images/p{number}.jpg", tmp_path / f"masks/p{number}.png"
        Image.fromarray(rng.integers(0, 256, (20, 30, 3), np.uint8)).save(image, exif=exif)
        Image.fromarray(mask(number)).save(stored)
        found.append(Predicted(image, stored, turn))
    return found


def write(kind: str, folder: Path, predicted: list[Predicted], tolerance: float = 0) -> str:
    return Annotations(kind, folder, tolerance, 2).write(predicted, CLASSES)


@pytest.mark.parametrize("kind", ["labelme", "coco", "cvat"])
def test_the_way_there_and_back(tmp_path: Path, predicted: list[Predicted], kind: str) -> None:
    if kind != "labelme":
        pytest.importorskip("pycocotools")
    message = write(kind, tmp_path / kind, predicted)
    assert message == f"3 images and {9 if kind == 'coco' else 12} outlines for {kind} in {tmp_path / kind}"
    names = "classes=[cat,background,dog & co]"
    assert convert([f"source={tmp_path / kind}", f"output={tmp_path / 'voc'}", names]) == 0
    for number in range(3):
        turned = np.rot90(mask(number), -1) if number == 1 else mask(number)
        np.testing.assert_array_equal(read_index_mask(tmp_path / f"voc/SegmentationClass/p{number}.png"), turned)


def test_labelme_opens_the_image_next_to_the_file(tmp_path: Path, predicted: list[Predicted]) -> None:
    write("labelme", tmp_path / "labelme", predicted, 1)
    names = {f"p{number}{end}" for number in range(3) for end in (".jpg", ".json")}
    assert {path.name for path in (tmp_path / "labelme").iterdir()} == names | {"labels.txt"}
    content = json.loads((tmp_path / "labelme/p1.json").read_text())
    assert (content["imagePath"], content["imageData"]) == ("p1.jpg", None)
    assert (content["imageHeight"], content["imageWidth"]) == (30, 20)  # as displayed
    assert [shape["label"] for shape in content["shapes"]] == ["dog & co", "cat", "background", "dog & co"]
    assert (tmp_path / "labelme/labels.txt").read_text() == "cat\nbackground\ndog & co\n"


def test_coco_lists_images_in_the_given_order(tmp_path: Path, predicted: list[Predicted]) -> None:
    write("coco", tmp_path / "coco", predicted)
    content = json.loads((tmp_path / "coco/annotations.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["p2.jpg", "p0.jpg", "p1.jpg"]
    assert [category["id"] for category in content["categories"]] == [1, 2, 3]
    dog, cat, inner = content["annotations"][:3]
    assert dog["segmentation"] == [[8, 12, 28, 12, 28, 13, 29, 13, 29, 19, 8, 19]] and dog["area"] == 146
    assert cat["segmentation"]["size"] == [20, 30]  # run lengths, as it has a hole
    assert sum(cat["segmentation"]["counts"][1::2]) == cat["area"] == 100
    assert inner["bbox"] == [6, 5, 4, 3] and inner["segmentation"] == [[6, 5, 10, 5, 10, 8, 6, 8]]


def test_cvat_has_labels_with_colours_and_layers(tmp_path: Path, predicted: list[Predicted]) -> None:
    write("cvat", tmp_path / "cvat", predicted)
    root = ElementTree.parse(tmp_path / "cvat/annotations.xml").getroot()
    labels = [(label.findtext("name"), label.findtext("color")) for label in root.iter("label")]
    assert labels == [("cat", "#010203"), ("background", "#000000"), ("dog & co", "#ff8000")]
    assert [image.get("name") for image in root.iter("image")] == ["p2.jpg", "p0.jpg", "p1.jpg"]
    first = next(root.iter("image"))
    assert [(shape.get("label"), shape.get("z_order")) for shape in first] == [
        ("dog & co", "0"), ("cat", "0"), ("background", "1"), ("dog & co", "2"),
    ]  # fmt: skip


def test_small_regions_are_in_the_message(tmp_path: Path, predicted: list[Predicted]) -> None:
    message = Annotations("labelme", tmp_path / "labelme", 1, 16).write(predicted, CLASSES)
    assert message.endswith("; left out: 3 regions of fewer than 16 pixels (smallest=…)")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"format": "labelm"}, "format=labelm: labelme, coco or cvat expected (did you mean 'labelme'?)"),
        ({"tolerance": "1"}, "tolerance=1: needs format=labelme, coco or cvat"),
        ({"format": "coco", "tolerance": "-1"}, "tolerance=-1: a number of pixels expected, 0 or more"),
        ({"format": "coco", "smallest": "2.5"}, "smallest=2.5: a whole number of pixels expected, 0 or more"),
        ({"format": "cvat"}, "exists already and may hold corrections; move it away, or choose another output"),
    ],
)
def test_wrong_keys_are_refused(tmp_path: Path, given: dict[str, str], message: str) -> None:
    (tmp_path / "cvat").mkdir()
    with pytest.raises(UserError) as raised:
        annotations_of(given, tmp_path)
    assert message in str(raised.value)


def test_keys_are_optional(tmp_path: Path) -> None:
    assert annotations_of({}, tmp_path) is None
    assert annotations_of({"format": "coco", "smallest": "0"}, tmp_path) == Annotations("coco", tmp_path / "coco", 1, 0)
