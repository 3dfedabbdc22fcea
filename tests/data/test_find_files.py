"""The image and mask of each id, and what a message shows and advises where something else lies in their place."""

import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.data.voc import find_examples
from tests.data.folders import Folder, dataset, faults_of, ids_of, write_list

IDS = ["train_0", "train_1", "train_2"]
NFC, NFD = (unicodedata.normalize(form, "café ガ") for form in ("NFC", "NFD"))
Change = Callable[[Path], Path]


@pytest.fixture
def root(voc_folder: Folder) -> Path:
    return voc_folder(train=3, name="the 'VOC' ü")


def change_names(root: Path, folder: str, change: Callable[[Path], str]) -> None:
    for path in list((root / folder).glob("train_*")):
        path.rename(path.with_name(change(path)))


def rename(root: Path, example_id: str, new: str) -> None:
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        target = root / folder / f"{new}{suffix}"
        target.parent.mkdir(exist_ok=True)
        (root / folder / f"{example_id}{suffix}").rename(target)


# ---- found


@pytest.mark.parametrize(("listed", "on_disk"), [(NFC, NFD), (NFD, NFC), (f"{NFC}/x", f"{NFD}/x"), (NFC, NFC)])
def test_another_unicode_form_is_found(root: Path, listed: str, on_disk: str) -> None:
    rename(root, "train_0", on_disk)
    write_list(root, "train", f"{listed}\ntrain_1\n")
    assert ids_of(root)["train"] == [listed, "train_1"]


def test_the_exact_form_is_preferred(root: Path) -> None:
    rename(root, "train_0", NFC)
    rename(root, "train_1", NFD)
    write_list(root, "train", f"{NFD}\n{NFC}\n")
    splits, faults = find_examples(root, dataset())
    assert not faults and [example.image.stem for example in splits["train"]] == [NFD, NFC]


def test_two_forms_of_one_file_are_reported(root: Path) -> None:
    rename(root, "train_0", NFD)
    write_list(root, "train", f"{NFC}\ntrain_1\n")
    write_list(root, "test", f"{NFD}\ntest_0\n")
    (fault,) = faults_of(root)
    assert "are both JPEGImages/" in fault and "caf\\xe9" in fault and "cafe\\u0301" in fault


@pytest.mark.parametrize("character", ["\ufeff", "\u200b", "\u00a0", "\u2060", "\u00ad", "\r"])
@pytest.mark.parametrize("form", ["{1}{0}", "{0}{1}"])
def test_invisible_characters_are_ignored(root: Path, character: str, form: str) -> None:
    write_list(root, "train", f"train_1\n{form.format('train_0', character)}\ntrain_2\n")
    assert ids_of(root)["train"] == ["train_1", "train_0", "train_2"]


def test_a_file_named_with_an_invisible_character_is_found(root: Path) -> None:
    rename(root, "train_0", "a\u200bb")
    write_list(root, "train", "a\u200bb\ntrain_1\n")
    assert [example.image.stem for example in find_examples(root, dataset())[0]["train"]] == ["a\u200bb", "train_1"]


def test_companions_of_macos_are_no_images(root: Path) -> None:
    for folder, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png")):
        for name in [*IDS, "train_9"]:
            (root / folder / f"._{name}{suffix}").write_bytes(b"\0\5\x16\7")
    (root / "JPEGImages" / "Thumbs.db").touch()
    assert ids_of(root)["train"] == IDS


# ---- shown


def test_tiff_images_are_shown_once(root: Path) -> None:
    for path in list((root / "JPEGImages").iterdir()):
        path.rename(path.with_suffix(".tif"))
    assert faults_of(root) == [
        "JPEGImages/train_0.jpg: missing; JPEGImages/train_0.tif exists, but only .jpg, .jpeg, .png is read "
        "(6 more like this: train_1, train_2, val_0, …); write it as .jpg, .jpeg, .png; a conversion writes PNG"
    ]


def test_masks_in_jpeg_are_not_converted(root: Path) -> None:
    change_names(root, "SegmentationClass", lambda path: f"{path.stem}.jpg")
    assert faults_of(root) == [
        "SegmentationClass/train_0.png: missing; SegmentationClass/train_0.jpg exists, but only .png is read "
        "(2 more like this: train_1, train_2); JPEG changes pixels, and with them labels: export the masks again, "
        "as PNG"
    ]


@pytest.mark.parametrize("name", ["{}_mask", "{}-label", "{}.jpg", "mask_{}", "gt.{}"])
def test_masks_with_an_affix_are_shown_once(root: Path, name: str) -> None:
    change_names(root, "SegmentationClass", lambda path: f"{name.format(path.stem)}.png")
    (fault,) = faults_of(root)
    assert f"SegmentationClass/{name.format('train_0')}.png exists (2 more like this: train_1, train_2)" in fault
    assert fault.endswith("; call it as it is listed; a conversion does so")


def test_a_longer_number_is_not_an_affix(root: Path) -> None:
    rename(root, "train_1", "train_10")
    assert [fault.partition(";")[2] for fault in faults_of(root)] == ["", ""]


def test_another_case_is_shown(root: Path) -> None:
    write_list(root, "train", "Train_0\ntrain_1\n")
    assert faults_of(root)[0] == (
        "JPEGImages/Train_0.jpg: missing; JPEGImages/train_0.jpg exists, which differs in upper and lower case; "
        "write it in the list as the file is called; a conversion does so"
    )


def test_a_file_in_a_subfolder_is_shown(root: Path) -> None:
    rename(root, "train_0", "site/train_0")
    assert faults_of(root)[0] == (
        "JPEGImages/train_0.jpg: missing; JPEGImages/site/train_0.jpg exists; list its path below JPEGImages/: "
        "site/train_0; a conversion does so"
    )


def test_missing_files_are_counted(root: Path) -> None:
    write_list(root, "train", "".join(f"nowhere_{number}\n" for number in range(30)) + "train_0\n")
    assert faults_of(root) == [
        f"{name}/nowhere_0{suffix}: missing, but listed in the train split "
        "(29 more like this: nowhere_1, nowhere_2, nowhere_3, …)"
        for name, suffix in (("JPEGImages", ".jpg"), ("SegmentationClass", ".png"))
    ]
