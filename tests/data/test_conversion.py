"""A folder that is VOC's but for its files: the command of the message writes one that is read, from the same masks."""

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.overrides import checked_config
from pipeline.config.quoting import quoted
from pipeline.config.schema import Config
from pipeline.convert.__main__ import main
from pipeline.data.conversion import ways_to_convert
from pipeline.data.image_files import read_index_mask
from pipeline.data.palette import voc_palette
from pipeline.data.prepare import Dataset, prepare_dataset
from pipeline.runtime.errors import UserError
from tests.data.folders import Folder, write_list

IDS = [f"{split}_{number}" for split, count in (("train", 4), ("val", 2), ("test", 2)) for number in range(count)]


def again(root: Path, folder: str, ending: str, change: Callable[[Image.Image], Image.Image] = lambda it: it) -> None:
    """Replace each file by one with another ending, or changed."""
    for path in list((root / folder).iterdir()):
        with Image.open(path) as opened:
            image = change(opened.copy())
        path.unlink()
        image.save((root / folder / path.stem).with_name(path.stem + ending))


def in_colours(mask: Image.Image) -> Image.Image:
    return Image.fromarray(voc_palette()[np.asarray(mask)])


def in_16_bits(mask: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(mask).astype(np.uint16))


def move(root: Path, name: str, new: str) -> None:
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        (root / folder / new).parent.mkdir(exist_ok=True)
        (root / folder / f"{name}{suffix}").rename(root / folder / f"{new}{suffix}")


def with_header(root: Path) -> None:
    write_list(root, "train", "image,mask\n" + "".join(f"{name}.jpg,{name}.png\n" for name in IDS[:4]))


BROUGHT: dict[str, Callable[[Path], None]] = {
    "TIFF images": lambda root: again(root, "JPEGImages", ".tif"),
    "GIF images": lambda root: again(root, "JPEGImages", ".gif"),
    "BMP masks": lambda root: again(root, "SegmentationClass", ".bmp"),
    "masks with a suffix": lambda root: again(root, "SegmentationClass", "_mask.png"),
    "masks in colours": lambda root: again(root, "SegmentationClass", ".png", in_colours),
    "masks of 16 bits": lambda root: again(root, "SegmentationClass", ".png", in_16_bits),
    "another case and a subfolder": lambda root: (move(root, "train_0", "Train_0"), move(root, "val_0", "s/val_0"))[0],
    "a table": with_header,
}


def config_of(root: Path, *overrides: str) -> Config:
    given = ["dataset=folder", f"dataset.root={quoted(str(root))}", "dataset.splits={val: val, test: test}"]
    return checked_config([*given, "batch_size=2", f"data_dir={root.parent / 'data'}", *overrides])


def said_by_a_run(root: Path, *overrides: str) -> tuple[str, ...]:
    with pytest.raises(UserError) as raised:
        prepare_dataset(config_of(root, "dataset.classes=[background,cat,dog]", *overrides))
    return raised.value.faults


def typed(fault: str, output: Path) -> Dataset:
    """What a run makes of the folder that the command of a message writes."""
    words = shlex.split(fault.partition("; type: ")[2])
    assert words[:3] == ["python", "-m", "pipeline.convert"]
    arguments = [word for word in words[3:] if not word.startswith("output=")]
    assert main([*arguments, f"output={output}"]) == 0
    return prepare_dataset(config_of(output))


@pytest.mark.parametrize("what", BROUGHT)
def test_the_command_of_the_message_works(voc_folder: Folder, tmp_path: Path, what: str) -> None:
    root = voc_folder(train=4, val=2, test=2, name="the 'VOC' ü")
    before = {name: read_index_mask(root / f"SegmentationClass/{name}.png") for name in IDS}
    BROUGHT[what](root)
    content = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
    *faults, advice = said_by_a_run(root)
    assert faults and advice.startswith("a conversion writes a new folder")
    found = typed(advice, tmp_path / "new")
    assert found.classes == ["background", "cat", "dog"]
    examples = {one.id.split("/")[-1].lower(): (split, one) for split, part in found.splits.items() for one in part}
    assert sorted(examples) == sorted(IDS)
    for name, (split, one) in examples.items():
        assert name.startswith(split)
        assert np.array_equal(read_index_mask(one.mask), before[name]), name
    assert {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()} == content


def test_255_becomes_the_class_that_is_meant(voc_folder: Folder, tmp_path: Path) -> None:
    root = voc_folder(train=4, val=2, test=2)
    before = {}
    for path in (root / "SegmentationClass").iterdir():
        mask = (read_index_mask(path) > 0).astype(np.uint8)
        before[path.stem] = mask
        Image.fromarray(mask * (255 if path.stem.startswith("val") else 1)).save(path)
    fault, advice = said_by_a_run(root, "dataset.classes=[background,'no']")
    assert "if it is meant as a class, a conversion writes 255 as 1, no; otherwise list masks with other" in fault
    assert "'values={0: background, 1: '\"'\"'no'\"'\"', 255: '\"'\"'no'\"'\"'}'" in advice
    found = typed(advice, tmp_path / "new")
    assert found.classes == ["background", "no"]
    for one in [one for part in found.splits.values() for one in part]:
        assert np.array_equal(read_index_mask(one.mask), before[one.id])


def test_what_no_conversion_mends_has_no_command(tmp_path: Path) -> None:
    assert ways_to_convert(tmp_path, ["a"], ["JPEGImages/a.jpg: missing, but listed in the train split"]) == []
