"""From `dataset=…` to a checked dataset, and the class weights drawn from it."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.config.overrides import checked_config
from pipeline.data import prepare
from pipeline.data.prepare import class_weights, median_frequency_weights, prepare_dataset
from pipeline.data.synthetic import shapes
from pipeline.data.synthetic.drawing import CLASSES
from pipeline.runtime.errors import UserError
from tests.data.folders import Folder, folder_config


def test_folder_is_listed_and_checked(voc_folder: Folder) -> None:
    root = voc_folder(train=3, val=1, test=2)
    dataset = prepare_dataset(folder_config(root))
    assert dataset.root == root
    assert dataset.classes == ["background", "cat", "dog"]
    assert {split: len(examples) for split, examples in dataset.splits.items()} == {"train": 3, "val": 1, "test": 2}
    assert dataset.sizes("train").shape == (3, 2)
    assert dataset.absent_classes == []
    assert [path.name for path in (root.parent / "data").iterdir()] == ["checked"]


def test_list_called_test_that_is_not_used(voc_folder: Folder) -> None:
    """By default val.txt is the test split, as with PASCAL VOC, whose own test list has no masks."""
    root = voc_folder()
    as_voc = folder_config(root, "dataset.splits={val: null, test: val}")
    (warning,) = prepare_dataset(as_voc).warnings
    assert warning == (
        "ImageSets/Segmentation/test.txt is not used: the images of val.txt are the test split; "
        "dataset.splits.val=val dataset.splits.test=test takes both lists for what they are called"
    )
    assert prepare_dataset(as_voc, only=["test"], trains=False).warnings == []
    assert prepare_dataset(folder_config(root)).warnings == []
    for mask in (root / "SegmentationClass").glob("test_*.png"):
        mask.unlink()
    assert prepare_dataset(as_voc).warnings == []
    listed = root / "ImageSets/Segmentation/test.txt"
    listed.write_text("")
    assert prepare_dataset(as_voc).warnings == []
    listed.unlink()
    assert prepare_dataset(as_voc).warnings == []


def test_classes_that_no_training_mask_has(voc_folder: Folder) -> None:
    """Classes in val and test do not count, since they cannot be learnt from them."""
    root = voc_folder(train=3, classes=3)
    for index in range(3):
        path = root / "SegmentationClass" / f"train_{index}.png"
        Image.fromarray(np.where(np.asarray(Image.open(path)) == 1, 0, np.asarray(Image.open(path)))).save(path)
    assert prepare_dataset(folder_config(root)).absent_classes == ["cat"]
    assert prepare_dataset(folder_config(root, "dataset.classes=[background,cat,dog,cow]")).absent_classes == [
        "cat",
        "cow",
    ]


def test_batch_larger_than_the_training_split(voc_folder: Folder) -> None:
    root = voc_folder(train=4)
    prepare_dataset(folder_config(root, "batch_size=4"))
    with pytest.raises(UserError) as raised:
        prepare_dataset(folder_config(root, "batch_size=5"))
    assert raised.value.faults == (
        "batch_size=5: the training split has only 4 images, and a step needs a full batch; at most 4 expected, "
        "or a length in steps (steps=1000), where a batch continues with the next pass",
    )
    prepare_dataset(folder_config(root, "batch_size=5", "steps=1000"))
    for epochs, steps in ((16, 992), (2000, 2000)):
        with pytest.raises(UserError, match=rf"length in steps \(steps={steps}\)"):
            prepare_dataset(folder_config(root, "batch_size=5", f"epochs={epochs}"))
        prepare_dataset(folder_config(root, "batch_size=5", f"epochs={epochs}", f"steps={steps}"))


def test_training_without_one_update(voc_folder: Folder) -> None:
    root = voc_folder(train=4)
    prepare_dataset(folder_config(root, "epochs=2", "optimizer.accumulate=4"))
    with pytest.raises(UserError) as raised:
        prepare_dataset(folder_config(root, "epochs=2", "optimizer.accumulate=5"))
    assert raised.value.faults == (
        "optimizer.accumulate=5: the run has only 4 batches (epochs=2, 4 training images), so the weights "
        "would never be updated; at most 4 expected",
    )
    with pytest.raises(UserError, match=r"has only 8 batches \(steps=8\), so the weights"):
        prepare_dataset(folder_config(root, "steps=8", "optimizer.accumulate=9"))


def test_masks_of_background_alone_are_refused(voc_folder: Folder) -> None:
    """Such as masks of 0 and 255, which many tools write."""
    root = voc_folder()
    for path in (root / "SegmentationClass").glob("train_*.png"):
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8)).save(path)
    valid = mask[mask != 255]
    assert valid.size and set(np.unique(valid)) > {0}  # so there was something to learn before
    with pytest.raises(UserError) as raised:
        prepare_dataset(folder_config(root))
    fault, advice = raised.value.faults
    assert re.fullmatch(
        r"SegmentationClass/: no mask of the train split has a class besides \w+ \(0\), so nothing can be learnt; "
        r"\d+% of their pixels are 255, which is void and neither learnt nor scored: if it is meant as a class, a "
        r"conversion writes 255 as 1, cat; otherwise list masks with other classes as well",
        fault,
    )
    assert advice.endswith("'classes=[background, cat, dog]' 'values={0: background, 1: cat, 2: dog, 255: cat}'")
    with pytest.raises(UserError, match="if it is meant as a class"):  # nor could it be scored
        prepare_dataset(folder_config(root), trains=False)
    prepare_dataset(folder_config(root), only=["val"], trains=False)


@pytest.mark.parametrize("background", ["null", "background", "dog"])
def test_masks_of_one_class_alone_are_refused(voc_folder: Folder, background: str) -> None:
    root, other = voc_folder(), []
    for path in (root / "SegmentationClass").glob("train_*.png"):
        Image.fromarray(np.ones_like(np.array(Image.open(path)))).save(path)
        other.append(path)
    with pytest.raises(UserError) as raised:
        prepare_dataset(folder_config(root, f"dataset.background={background}"))
    assert raised.value.faults == (
        "SegmentationClass/: no mask of the train split has a class besides cat (1), so nothing can be learnt; list "
        "masks with other classes as well",
    )
    Image.fromarray(np.full_like(np.array(Image.open(other[0])), 2)).save(other[0])
    assert prepare_dataset(folder_config(root, f"dataset.background={background}"))  # in another image


def test_folder_that_is_not_generated_is_not_shapes(voc_folder: Folder) -> None:
    root = voc_folder()
    with pytest.raises(UserError, match="not hold the generated images of dataset=shapes; dataset=folder expected"):
        prepare_dataset(folder_config(root, "dataset=shapes"))


def test_faults_of_lists_and_images_together(voc_folder: Folder) -> None:
    root = voc_folder(train=4)
    (root / "JPEGImages" / "train_0.jpg").unlink()
    (root / "JPEGImages" / "val_0.jpg").write_bytes(b"")
    with pytest.raises(UserError) as raised:
        prepare_dataset(folder_config(root, "dataset.splits.test=tset", "batch_size=4"))
    assert raised.value.faults == (
        "dataset.splits.test=tset: ImageSets/Segmentation/tset.txt not found (did you mean 'test'?); "
        "ImageSets/Segmentation/ has test, train, val",
        "JPEGImages/train_0.jpg: missing, but listed in the train split",
        "JPEGImages/val_0.jpg: is not a JPEG or PNG file, or its header is damaged",
    )


def test_tilde_is_the_home_folder(voc_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = voc_folder()
    monkeypatch.setenv("HOME", str(root.parent))
    config = folder_config(root, f'dataset.root="~/{root.name}"', 'data_dir="~/elsewhere"')
    assert config.dataset.root == f"~/{root.name}"
    assert prepare_dataset(config).root == root
    assert (root.parent / "elsewhere" / "checked").is_dir()


def test_shapes_are_drawn_on_first_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shapes, "SPLITS", {"train": 9, "val": 1, "test": 1})
    config, reported = checked_config([f"data_dir={tmp_path / 'data'}"]), []
    dataset = prepare_dataset(config, lambda *news: reported.append(news))
    assert dataset.root == tmp_path / "data" / "shapes"
    assert {split: len(examples) for split, examples in dataset.splits.items()} == shapes.SPLITS
    assert list(dict.fromkeys(what for what, _, _ in reported)) == [
        "drawing shapes",
        "hashing images",
        "checking images",
    ]
    assert reported[10] == ("drawing shapes", 11, 11)
    reported.clear()
    again = prepare_dataset(config, lambda *news: reported.append(news))
    assert {what for what, _, _ in reported} == {"hashing images"}
    assert again.checked.digest == dataset.checked.digest


def test_configured_classes_are_the_drawn_ones() -> None:
    assert tuple(checked_config([]).dataset.classes) == CLASSES


@pytest.mark.parametrize("year", ["2007", "2012"])
def test_voc_is_fetched_into_data_dir(voc_folder: Folder, monkeypatch: pytest.MonkeyPatch, year: str) -> None:
    root, calls = voc_folder(train=20, classes=21), []

    def ensure_voc(*arguments: object) -> Path:
        calls.append(arguments[:2])
        return root

    monkeypatch.setattr(prepare, "ensure_voc", ensure_voc)
    dataset = prepare_dataset(checked_config([f"dataset=voc{year}", f"data_dir={root.parent}"]))
    assert calls == [(year, root.parent)]
    assert len(dataset.classes) == 21
    expected = {"train": 18, "val": 2, "test": 2} if year == "2012" else {"train": 20, "val": 2, "test": 2}
    assert {split: len(examples) for split, examples in dataset.splits.items()} == expected


def test_root_is_used_instead_of_a_download(voc_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    root = voc_folder(train=20, classes=21)
    monkeypatch.setattr(prepare, "ensure_voc", lambda *_: pytest.fail("fetched"))
    config = checked_config(["dataset=voc2012", f"dataset.root={root}", f"data_dir={root.parent / 'data'}"])
    assert prepare_dataset(config).root == root


# ---- class weights


def test_median_frequency_weights_by_hand() -> None:
    """Class 0 is in both images: 60 + 30 of 100 + 50 pixels. Class 1 in the first: 40 of 100. Class 2: 20 of 50.

    Frequencies 0.6, 0.4, 0.4, median 0.4; class 3 never occurs and does not enter the median.
    """
    pixels = np.array([[60, 40, 0, 0], [30, 0, 20, 0]])
    weights = median_frequency_weights(pixels)
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, [0.4 / 0.6, 1, 1, 1], rtol=1e-6)


def test_median_of_an_even_number_of_classes() -> None:
    """Frequencies 90 of 100 and 10 of 100: the median is their mean, 0.5."""
    np.testing.assert_allclose(median_frequency_weights(np.array([[90, 10]])), [0.5 / 0.9, 5], rtol=1e-6)


def test_rare_class_is_weighted_by_the_images_that_have_it() -> None:
    """It has half of the pixels where it occurs: its frequency is 0.5, however many images do not have it."""
    pixels = np.array([[50, 50]] + [[100, 0]] * 9)
    np.testing.assert_allclose(median_frequency_weights(pixels), [0.725 / 0.95, 0.725 / 0.5], rtol=1e-6)


def test_class_weights_come_from_the_training_split(voc_folder: Folder) -> None:
    config = folder_config(voc_folder(train=3))
    dataset = prepare_dataset(config)
    np.testing.assert_array_equal(class_weights(config.loss, dataset), np.ones(3, np.float32))
    config.loss.class_weights = "median_frequency"
    expected = median_frequency_weights(dataset.class_pixels("train"))
    np.testing.assert_array_equal(class_weights(config.loss, dataset), expected)
    assert len(set(expected)) > 1


def test_image_without_a_valid_pixel() -> None:
    np.testing.assert_allclose(median_frequency_weights(np.array([[0, 0], [3, 1]])), [0.5 / 0.75, 2], rtol=1e-6)
