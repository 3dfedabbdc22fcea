"""Cityscapes and ADE20K: their own classes, by their own numbers."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.config.dataset_file import read_dataset_file
from tests.convert.sources import (
    assert_masks,
    converted,
    drawn_image,
    index_mask,
    masks_of,
    refused,
    save,
    splits_of,
)

ROAD, SKY, TRAILER = 7, 23, 30  # ids; trainIds 0, 10 and none


def write_cityscapes(root: Path) -> Path:
    for number, split in enumerate(("train", "val", "test")):
        stem = f"aachen_{number}_19"
        save(root / f"leftImg8bit/{split}/aachen/{stem}_leftImg8bit.png", drawn_image(number))
        ids = np.zeros((24, 32), np.uint8)
        if split != "test":
            ids[:8], ids[8:16], ids[16:20] = ROAD, SKY, TRAILER
        save(root / f"gtFine/{split}/aachen/{stem}_gtFine_labelIds.png", ids)
        save(root / f"gtFine/{split}/aachen/{stem}_gtFine_instanceIds.png", ids)
        save(root / f"gtFine/{split}/aachen/{stem}_gtFine_color.png", drawn_image(9))
    return root


def test_cityscapes_by_ids_and_by_train_ids(tmp_path: Path) -> None:
    source = write_cityscapes(tmp_path / "s")
    output = converted(source)
    assert splits_of(output) == {"train": ["aachen_0_19"], "val": ["aachen_1_19"]}  # the masks of test are dummies
    assert masks_of(output)["aachen_0_19"][:, 0].tolist() == [0] * 8 + [10] * 8 + [255] * 8
    train_ids = np.full((24, 32), 255, np.uint8)
    train_ids[:4] = 18
    save(source / "gtFine/train/aachen/aachen_0_19_gtFine_labelTrainIds.png", train_ids)
    output = converted(source, "overwrite=true")
    assert np.array_equal(masks_of(output)["aachen_0_19"], train_ids)
    found = read_dataset_file(output / "dataset.yaml")
    assert found["classes"][18] == "bicycle" and found["background"] is None and found["colours"][0] == "#804080"


def test_kitti_has_the_ids_of_cityscapes(tmp_path: Path) -> None:
    source = tmp_path / "kitti"
    for number in range(3):
        save(source / f"training/image_2/00{number}_10.png", drawn_image(number))
        save(source / f"testing/image_2/00{number}_10.png", drawn_image(9 + number))
        mask = np.full((24, 32), ROAD, np.uint8)
        mask[8:16], mask[16:] = SKY, TRAILER
        save(source / f"training/semantic/00{number}_10.png", mask)
        save(source / f"training/semantic_rgb/00{number}_10.png", drawn_image(number))
        save(source / f"training/instance/00{number}_10.png", mask.astype(np.uint16) * 256)
    output = converted(source)
    assert sorted(masks_of(output)) == ["000_10", "001_10", "002_10"]
    assert masks_of(output)["000_10"][:, 0].tolist() == [0] * 8 + [10] * 8 + [255] * 8
    assert {split: len(ids) for split, ids in splits_of(output).items()} == {"train": 1, "val": 1, "test": 1}


def test_ade20k_begins_at_one(tmp_path: Path) -> None:
    source = tmp_path / "ADEChallengeData2016"
    for number, split in enumerate(("training", "validation")):
        mask = np.zeros((24, 32), np.uint8)
        mask[12:], mask[20:] = 1, 150
        save(source / f"images/{split}/ADE_{number}.jpg", drawn_image(number))
        save(source / f"annotations/{split}/ADE_{number}.png", mask)
    rows = "".join(f"{number}\t0.1\t1\t1\t1\t{'wall, w' if number == 1 else 'thing'}\n" for number in range(1, 151))
    (source / "objectInfo150.txt").write_text(f"Idx\tRatio\tTrain\tVal\tStuff\tName\n{rows}")
    output = converted(source)
    assert splits_of(output) == {"train": ["ADE_0"], "val": ["ADE_1"]}
    assert masks_of(output)["ADE_1"][:, 0].tolist() == [255] * 12 + [0] * 8 + [149] * 4
    save(tmp_path / "full/images/ADE/training/ADE_train_1.jpg", drawn_image(1))
    save(tmp_path / "full/images/ADE/training/ADE_train_1_seg.png", drawn_image(1))
    assert "is the full release of ADE20K, whose 3,688 classes do not fit" in refused(tmp_path / "full")
    classes = read_dataset_file(output / "dataset.yaml")["classes"]
    assert classes[:3] == ["wall", "thing", "thing_3"] and len(classes) == 150


def test_other_data_in_the_folders_of_ade20k_are_masks(tmp_path: Path) -> None:
    """mmsegmentation writes vessels of the retina so, with 0 as background and 1 as vessel."""
    for number, split in enumerate(("training", "training", "validation")):
        save(tmp_path / f"s/images/{split}/Image_0{number}L.png", drawn_image(number))
        save(tmp_path / f"s/annotations/{split}/Image_0{number}L_1stHO.png", index_mask(number, 2))
    output = converted(tmp_path / "s")
    assert splits_of(output) == {"train": ["Image_00L", "Image_01L"], "val": ["Image_02L"]}
    assert_masks(output, {f"Image_0{number}L": index_mask(number, 2) for number in range(3)})
    for path in sorted((tmp_path / "s").rglob("*.png")):
        path.rename(path.with_name(path.name.replace("_1stHO", "")))
    for path in sorted((tmp_path / "s/images").rglob("*.png")):
        Image.open(path).save(path.with_suffix(".jpg"))
        path.unlink()
    output = converted(tmp_path / "s", "format=ade20k", "overwrite=true")
    assert set(np.unique(masks_of(output)["Image_00L"])) == {0, 255}
