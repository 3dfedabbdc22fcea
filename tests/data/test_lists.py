"""Lists in the forms of other tools: recognised by line, and a conversion takes their ids."""

from pathlib import Path

import pytest

from pipeline.convert.lists import with_lists
from pipeline.convert.options import Options
from pipeline.convert.source import Files, Found, Item
from tests.data.advice import type_advice
from tests.data.folders import LISTS, Folder, dataset, faults_of, ids_of, write_list

IDS = ["train_0", "train_1", "train_2"]


@pytest.fixture
def root(voc_folder: Folder) -> Path:
    return voc_folder(train=3, name="the 'VOC' ü")


def taken(root: Path) -> list[str]:
    """The ids that a conversion takes for train."""
    files = Files.below(root, root / "none")
    stems = {image: Path(image).stem for image in files.ending(".jpg")}
    items = [Item(stem, image, None, f"SegmentationClass/{stem}.png") for image, stem in stems.items()]  # type: ignore[arg-type]
    found = Found("masks", items, [], None)
    with_lists(found, files, Options(root, root / "none"))
    return [item.id for item in found.items if item.split == "train"]


@pytest.mark.parametrize(
    ("line", "form"),
    [
        ("{}.jpg", "an id with an ending"),
        ("JPEGImages/{}.jpg", "a path with an ending"),
        ("./JPEGImages/{}.JPG", "a path with an ending"),
        ("/data/VOC/JPEGImages/{}.jpg", "an absolute path"),
        ("C:\\VOC\\JPEGImages\\{}.jpg", "an absolute path"),
        ("JPEGImages\\{}", "a path of Windows"),
        ("elsewhere/{}", "a path"),
        ('"{}"', "a quoted id"),
        ("JPEGImages/{0}.jpg SegmentationClass/{0}.png", "an image and its mask"),
        ("/JPEGImages/{0}.jpg\t/SegmentationClass/{0}.png", "an image and its mask"),
        ("{0}.jpg,{0}.png", "an image and its mask"),
        ("{} 1", "an id with a label"),
        ("{}  -1", "an id with a label"),
        ("{} 0 1 1", "an id with labels"),
        ("{},1", "an id with a label separated by commas"),
        ("{},cat,0.5", "several columns separated by commas"),
        ("{};cat", "several columns"),
    ],
)
def test_form_is_named_once_and_a_conversion_reads_it(root: Path, line: str, form: str) -> None:
    write_list(root, "train", "".join(line.format(name) + "\n" for name in IDS))
    (fault,) = faults_of(root)
    first = line.format(IDS[0])
    start = f"ImageSets/Segmentation/train.txt line 1: '{first}' is {form}; one id on each line expected"
    assert fault.startswith(start.replace("; one", " (2 more like this: line 2, line 3); one"))
    assert fault.endswith("such as 'train_0'; a conversion takes the ids")
    assert taken(root) == IDS


def test_a_table_with_a_header(root: Path) -> None:
    write_list(root, "train", "image,mask\n" + "".join(f"{name}.jpg,{name}.png\n" for name in IDS))
    header, form = faults_of(root)
    assert header.startswith("ImageSets/Segmentation/train.txt line 1: 'image,mask' is a header; one id on each line")
    assert "line 2: 'train_0.jpg,train_0.png' is an image and its mask (2 more like this: " in form
    assert header.endswith("; a conversion leaves it out") and taken(root) == IDS


def test_files_of_the_operating_system_in_a_list(root: Path) -> None:
    write_list(root, "train", "._train_0\n.DS_Store\nThumbs.db\ntrain_0\nsub/._x.jpg\ntrain_1\ntrain_2\n")
    (fault,) = faults_of(root)
    assert "line 1: '._train_0' is a file of the operating system, no image (3 more like this: line 2, " in fault
    assert fault.endswith("; a conversion leaves such lines out") and taken(root) == IDS


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(root: Path, encoding: str) -> None:
    write_list(root, "train", "\r\n".join(IDS).encode(encoding))
    (fault,) = faults_of(root)
    assert fault.startswith("ImageSets/Segmentation/train.txt: cannot be read as text: is UTF-16")
    assert fault.endswith(f"; a conversion reads it as {encoding.upper().replace('-LE', 'LE').replace('-BE', 'BE')}")
    assert taken(root) == IDS


def test_line_that_is_not_utf_8_is_named(root: Path) -> None:
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        (root / folder / f"train_1{suffix}").rename(root / folder / f"Büsche{suffix}")
    write_list(root, "train", "train_0\nBüsche\n".encode("latin-1"))
    (fault,) = faults_of(root)
    assert fault.startswith("ImageSets/Segmentation/train.txt line 2: 'Büsche': cannot be read as text: is not UTF-8")
    assert taken(root) == ["Büsche", "train_0"]


def test_ids_that_look_like_a_form_are_ids_where_such_images_exist(root: Path) -> None:
    names = ["train_0.jpg", "a, b", "x 1", "name", '"quoted"']
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        for name in names:
            (root / folder / f"{name}{suffix}").write_bytes((root / folder / f"train_0{suffix}").read_bytes())
    write_list(root, "train", "\n".join(["name", *names[:3], names[4]]))
    assert ids_of(root)["train"] == ["name", *names[:3], names[4]]


def test_a_line_with_a_label_next_to_an_id_with_a_space(root: Path) -> None:
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        (root / folder / f"a b{suffix}").write_bytes((root / folder / f"train_0{suffix}").read_bytes())
    write_list(root, "train", "a b\ntrain_0 1\n")
    (fault,) = faults_of(root)
    assert "line 2: 'train_0 1' is an id with a label; one id on each line expected, such as 'train_0'; a conv" in fault
    assert taken(root) == ["a b", "train_0"]


def test_a_list_that_a_conversion_passes_over(root: Path) -> None:
    write_list(root, "mine", "train_0.jpg\n")
    (fault,) = faults_of(root, dataset(train="mine"))
    assert fault.endswith("one id on each line expected, such as 'train_0'")


def test_list_that_lies_elsewhere(root: Path) -> None:
    (root / LISTS / "train.txt").rename(root / "train.txt")
    (fault,) = faults_of(root, dataset(train="train"))
    assert "Segmentation/train.txt not found; train.txt exists; if that is the list, type: cp " in fault
    type_advice([fault], root)
    assert ids_of(root)["train"] == IDS
