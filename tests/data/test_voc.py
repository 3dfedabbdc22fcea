"""The examples of a folder in VOC layout, and every fault of its lists and file names."""

from pathlib import Path

import pytest

from pipeline.data.voc import find_examples, shortened
from pipeline.runtime.errors import UserError
from tests.data.folders import LISTS, Folder, dataset, faults_of, ids_of, write_list

# ---- what is found


def test_examples_in_the_order_of_the_lists(voc_folder: Folder) -> None:
    root = voc_folder(train=3, val=1, test=1)
    write_list(root, "train", "train_2\ntrain_0\ntrain_1\n")
    splits, faults = find_examples(root, dataset())
    assert not faults
    assert list(splits) == ["train", "val", "test"]
    assert [example.id for example in splits["train"]] == ["train_2", "train_0", "train_1"]
    assert splits["train"][0].image == root / "JPEGImages" / "train_2.jpg"
    assert splits["train"][0].mask == root / "SegmentationClass" / "train_2.png"


def test_no_test_split(voc_folder: Folder) -> None:
    assert list(ids_of(voc_folder(test=0), dataset(test=None))) == ["train", "val"]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"train_1\r\ntrain_0\r\n", id="Windows line ends"),
        pytest.param(b"train_1\ntrain_0", id="no line end at the end"),
        pytest.param(b"\n\ntrain_1\n   \n\ntrain_0\n\n", id="blank lines"),
        pytest.param(b"\xef\xbb\xbftrain_1\ntrain_0\n", id="byte order mark"),
        pytest.param(b"  train_1\t\ntrain_0  \n", id="spaces around"),
    ],
)
def test_lists_as_editors_write_them(voc_folder: Folder, content: bytes) -> None:
    root = voc_folder(train=2)
    write_list(root, "train", content)
    assert ids_of(root)["train"] == ["train_1", "train_0"]


@pytest.mark.parametrize("suffix", [".JPG", ".jpeg", ".Jpeg", ".png", ".PNG"])
def test_suffixes_in_upper_and_lower_case(voc_folder: Folder, suffix: str) -> None:
    root = voc_folder()
    image, mask = root / "JPEGImages" / "train_0.jpg", root / "SegmentationClass" / "train_0.png"
    image.rename(image.with_suffix(suffix))
    mask.rename(mask.with_suffix(".PNG"))
    example = find_examples(root, dataset())[0]["train"][0]
    assert (example.image.name, example.mask.name) == (f"train_0{suffix}", "train_0.PNG")


def test_ids_with_folders_dots_and_spaces(voc_folder: Folder) -> None:
    root = voc_folder(train=1)
    ids = ["site a/day.1/x.y", "site a/other", "2007.000032"]
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        for example_id in ids:
            copy = root / folder / f"{example_id}{suffix}"
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes((root / folder / f"train_0{suffix}").read_bytes())
    write_list(root, "train", "\n".join(ids))
    assert ids_of(root)["train"] == ids


def test_links_are_followed(voc_folder: Folder, tmp_path: Path) -> None:
    """A linked file, a linked folder below JPEGImages, and a linked JPEGImages."""
    root = voc_folder(train=2)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        first, second = (root / folder / f"train_{index}{suffix}" for index in range(2))
        first.rename(elsewhere / first.name)
        first.symlink_to(elsewhere / first.name)
        (elsewhere / folder).mkdir()
        second.rename(elsewhere / folder / f"deep{suffix}")
        (root / folder / "linked").symlink_to(elsewhere / folder, target_is_directory=True)
    write_list(root, "train", "train_0\nlinked/deep\n")
    moved = (root / "JPEGImages").rename(elsewhere / "images")
    (root / "JPEGImages").symlink_to(moved, target_is_directory=True)
    assert ids_of(root)["train"] == ["train_0", "linked/deep"]


def test_circular_links_are_not_followed_forever(voc_folder: Folder) -> None:
    """Folders that contain themselves several times: walking them all would never end."""
    root = voc_folder(train=1)
    for folder in ("JPEGImages", "SegmentationClass"):
        for name in ("a", "b", "c"):
            (root / folder / name).symlink_to(root / folder, target_is_directory=True)
    (root / "JPEGImages" / "itself").symlink_to(root / "JPEGImages" / "itself")
    write_list(root, "train", "a/b/train_0\nitself/x\n")
    assert faults_of(root) == [
        "JPEGImages/itself/x.jpg: missing, but listed in the train split",
        "SegmentationClass/itself/x.png: missing, but listed in the train split",
    ]
    write_list(root, "train", "a/b/train_0\n")
    assert ids_of(root)["train"] == ["a/b/train_0"]


# ---- faults


@pytest.mark.parametrize("missing", ["JPEGImages", "SegmentationClass", "ImageSets/Segmentation"])
def test_missing_folder_of_the_layout(voc_folder: Folder, missing: str) -> None:
    root = voc_folder()
    (root / missing).rename(root / "away")
    with pytest.raises(UserError) as raised:
        find_examples(root, dataset())
    expected = "a folder with JPEGImages/, SegmentationClass/ and ImageSets/Segmentation/ expected"
    fault = raised.value.faults[0]
    assert fault.startswith(f"dataset.root={root}: missing {missing}/; it has ") and fault.endswith(f"; {expected}")
    assert "away/ (" in fault


def test_folder_within_the_root_suggests_the_root(voc_folder: Folder) -> None:
    root = voc_folder()
    with pytest.raises(UserError) as raised:
        find_examples(root / "ImageSets" / "Segmentation", dataset())
    assert f"Segmentation/ (did you mean '{root}'?); a folder with" in raised.value.faults[0]


def test_missing_root(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nowhere: folder not found; a folder with JPEGImages/, "):
        find_examples(tmp_path / "nowhere", dataset())


def test_missing_list_names_the_nearest(voc_folder: Folder) -> None:
    assert faults_of(voc_folder(), dataset(val="vall")) == [
        "dataset.splits.val=vall: ImageSets/Segmentation/vall.txt not found (did you mean 'val'?); "
        "ImageSets/Segmentation/ has test, train, val"
    ]


def test_no_list_at_all(voc_folder: Folder) -> None:
    root = voc_folder()
    for file in (root / LISTS).iterdir():
        file.unlink()
    assert faults_of(root, dataset(val=None, test=None)) == [
        "dataset.splits.train=train: ImageSets/Segmentation/train.txt not found; ImageSets/Segmentation/ has no lists: "
        "write one with the id of an image on each line; a conversion makes splits"
    ]


@pytest.mark.parametrize("content", ["", "\n \n"])
def test_empty_list(voc_folder: Folder, content: str) -> None:
    root = voc_folder()
    write_list(root, "val", content)
    assert faults_of(root) == ["ImageSets/Segmentation/val.txt: empty; one id on each line expected"]


def test_list_that_is_not_text(voc_folder: Folder) -> None:
    root = voc_folder()
    write_list(root, "val", b"\xff\xfe\x00val_0")
    (fault,) = faults_of(root)
    assert fault.startswith("ImageSets/Segmentation/val.txt: cannot be read as text: ")


def test_id_twice_in_a_list(voc_folder: Folder) -> None:
    root = voc_folder()
    write_list(root, "train", "train_0\ntrain_1\n\ntrain_0\n")
    assert faults_of(root) == ["ImageSets/Segmentation/train.txt line 4: id 'train_0' is listed twice"]


def test_id_in_two_splits(voc_folder: Folder) -> None:
    root = voc_folder()
    write_list(root, "test", "test_0\ntrain_1\n")
    assert faults_of(root) == [
        "id 'train_1' is in the train split (train.txt) and in the test split (test.txt): each image may be in one only"
    ]


def test_held_out_id_in_the_test_split(voc_folder: Folder) -> None:
    """Ids are held out of the list before splits are compared, so a test id in train is found in train or in val."""
    root = voc_folder(train=4)
    held = ids_of(root, dataset(val=None))["val"]
    write_list(root, "test", f"test_0\n{held[0]}\n")
    assert faults_of(root, dataset(val=None)) == [
        f"id '{held[0]}' is in the val split (held out of train.txt) and in the test split (test.txt): "
        "each image may be in one only"
    ]


@pytest.mark.parametrize("example_id", ["/etc/passwd", "../outside", "a/../../outside", "..", "a\\..\\b", "nul\0l"])
def test_id_that_leads_outside(voc_folder: Folder, example_id: str) -> None:
    root = voc_folder()
    write_list(root, "train", f"train_0\n{example_id}\ntrain_1\n")
    assert faults_of(root) == [
        f"ImageSets/Segmentation/train.txt line 2: id '{example_id}' is absolute or contains '..': "
        "a name inside JPEGImages/ expected"
    ]
    assert len(find_examples(root, dataset())[0]["train"]) == 2


def test_missing_files(voc_folder: Folder) -> None:
    root = voc_folder()
    (root / "JPEGImages" / "train_1.jpg").unlink()
    (root / "SegmentationClass" / "val_0.png").unlink()
    write_list(root, "test", "test_0\ntest_1\n" + "x/" * 3000 + "long\n")
    splits, faults = find_examples(root, dataset())
    assert faults[:2] == [
        "JPEGImages/train_1.jpg: missing, but listed in the train split",
        "SegmentationClass/val_0.png: missing, but listed in the val split",
    ]
    assert [fault[-50:] for fault in faults[2:]] == [
        f"x/x/long{suffix}: missing, but listed in the test split"[-50:] for suffix in (".jpg", ".png")
    ]
    assert [len(examples) for examples in splits.values()] == [3, 1, 2]


def test_mask_must_be_a_png(voc_folder: Folder) -> None:
    root = voc_folder()
    mask = root / "SegmentationClass" / "train_0.png"
    mask.rename(mask.with_suffix(".jpg"))
    (fault,) = faults_of(root)
    assert fault.startswith("SegmentationClass/train_0.png: missing; SegmentationClass/train_0.jpg exists, but only")


def test_ambiguous_image(voc_folder: Folder) -> None:
    root = voc_folder()
    (root / "JPEGImages" / "train_0.png").touch()
    assert faults_of(root) == ["JPEGImages/train_0: ambiguous: found train_0.jpg and train_0.png; keep one of them"]


def test_folder_without_permission(voc_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = voc_folder()

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(UserError, match="JPEGImages: cannot be read: Permission denied"):
        find_examples(root, dataset())


def test_faults_of_all_lists_are_reported_together(voc_folder: Folder) -> None:
    root = voc_folder()
    write_list(root, "train", "train_0\ntrain_0\n/x\nval_1\nnowhere\n")
    write_list(root, "test", "")
    faults = faults_of(root, dataset(val="val"))
    assert len(faults) == 6
    for part in (
        "is listed twice",
        "is absolute",
        "test.txt: empty",
        "'val_1' is in the train split (train.txt) and",
    ):
        assert sum(part in fault for fault in faults) == 1
    assert sum("nowhere" in fault for fault in faults) == 2


def test_first_twenty_faults_and_a_count() -> None:
    faults = [f"fault {number}" for number in range(25)]
    assert shortened(faults[:20]) == faults[:20]
    assert shortened(faults) == [*faults[:20], "and 5 more like these"]
