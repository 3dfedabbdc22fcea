"""Images whose pixels are not certain are refused by name, with the ways out; the two ways give the right pixels."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipeline.config.schema import Config
from pipeline.data.check import check_dataset, check_pair
from pipeline.data.pixels import PixelRules
from pipeline.data.prepare import Dataset, prepare_dataset
from pipeline.data.training_images import training_images
from pipeline.data.voc import Example, find_examples
from pipeline.data.whole_images import WholeImages
from pipeline.runtime.errors import UserError
from tests.data.folders import CLASSES, Folder, dataset, example_of, sizes_of
from tests.data.oriented import as_stored, png_of_16_bits, save_oriented

APPLY, IGNORE, REFUSE = (PixelRules(exif) for exif in ("apply", "ignore", "refuse"))
EXIF_WAYS_OUT = (
    "dataset.exif=refuse: such images can be read in two ways: dataset.exif=apply turns them as viewers do, for masks "
    "drawn on the displayed image; dataset.exif=ignore takes their pixels as they are stored"
)


def turn_file(example: Example, orientation: int, suffix: str = ".jpg") -> Example:
    """Store the example's image in another frame; it is displayed as before."""
    turned = dataclasses.replace(example, image=example.image.with_suffix(suffix))
    with Image.open(example.image) as image:
        displayed = image.convert("RGB")
    example.image.unlink()
    save_oriented(as_stored(displayed, orientation), turned.image, orientation)
    return turned


def prepared(root: Path, data_dir: Path, exif: str = "refuse", intensity: list[float] | None = None) -> Dataset:
    config = Config(data_dir=str(data_dir), batch_size=1, epochs=1)
    config.dataset = dataclasses.replace(dataset(), root=str(root), exif=exif, intensity=intensity)
    return prepare_dataset(config)


# ---- orientation


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_every_orientation_is_refused_applied_or_ignored(voc_folder: Folder, suffix: str, orientation: int) -> None:
    example = turn_file(example_of(voc_folder(size=(24, 32))), orientation, suffix)
    swapped = orientation >= 5
    faults, row = check_pair(example, 3, APPLY)
    assert faults == [] and row[:3] == [24, 32, orientation]
    (refused,) = check_pair(example, 3, REFUSE)[0] or [""]
    beginning = f"JPEGImages/train_0{suffix}: has EXIF orientation {orientation}: displayed "
    assert refused.startswith(beginning if orientation != 1 else "")
    assert refused.endswith(", 32x24, but stored as 24x32; its mask fits the displayed image") == swapped
    faults, row = check_pair(example, 3, IGNORE)
    assert row[:3] == [24, 32, 1] and len(faults) == swapped
    if swapped:
        assert faults[0] == (
            f"SegmentationClass/train_0.png: is 32x24, but its image JPEGImages/train_0{suffix} is 24x32 as stored, "
            f"without its EXIF orientation {orientation}; dataset.exif=apply turns it so that the mask fits"
        )


def test_mask_in_the_stored_frame_is_told(voc_folder: Folder) -> None:
    example = turn_file(example_of(voc_folder(size=(24, 32))), 8)
    with Image.open(example.mask) as mask:
        as_stored(mask.copy(), 8).save(example.mask)
    assert check_pair(example, 3, IGNORE)[0] == []
    assert check_pair(example, 3, REFUSE)[0][0].endswith("; its mask fits the stored pixels")
    (fault,) = check_pair(example, 3, APPLY)[0]
    assert fault.endswith("is 32x24 as displayed, by its EXIF orientation 8; dataset.exif=ignore takes it as stored, "
                          "where the mask fits")  # fmt: skip


def test_mask_with_an_orientation_is_refused_or_ignored(voc_folder: Folder) -> None:
    example = example_of(voc_folder())
    with Image.open(example.mask) as mask:
        save_oriented(mask.copy(), example.mask, 3)
    assert check_pair(example, 3, IGNORE)[0] == []
    for rules in (REFUSE, APPLY):
        (fault,) = check_pair(example, 3, rules)[0]
        assert fault.startswith("SegmentationClass/train_0.png: is a mask with EXIF orientation 3; save it without")


def test_ways_out_follow_all_faults_once(voc_folder: Folder, tmp_path: Path) -> None:
    root = voc_folder(train=25, val=1, test=1)
    for number in range(25):
        turn_file(example_of(root, f"train_{number}"), 3)
    with pytest.raises(UserError) as raised:
        prepared(root, tmp_path)
    assert len(raised.value.faults) == 22
    assert raised.value.faults[0] == "JPEGImages/train_0.jpg: has EXIF orientation 3: displayed turned by 180 degrees"
    assert raised.value.faults[20:] == ("and 5 more like these", EXIF_WAYS_OUT)


def test_stored_result_belongs_to_its_rules(voc_folder: Folder, tmp_path: Path) -> None:
    """A check under apply or ignore does not let the same files pass under refuse, and knows the orientations."""
    root = voc_folder()
    turn_file(example_of(root), 3)
    splits = find_examples(root, dataset())[0]
    for _ in range(2):  # checked, then from the stored result
        for rules, orientation in ((APPLY, 3), (IGNORE, 1)):
            checked = check_dataset(splits, CLASSES, tmp_path, rules=rules)
            assert checked.statistics["train"].orientations.tolist() == [orientation, 1, 1, 1]
        with pytest.raises(UserError, match="EXIF orientation 3"):
            check_dataset(splits, CLASSES, tmp_path, rules=REFUSE)


@pytest.mark.parametrize("cache_mb", [0, 1])
def test_training_and_scoring_see_the_displayed_images(voc_folder: Folder, tmp_path: Path, cache_mb: int) -> None:
    """All eight orientations, as JPEG and PNG: the pixels of the upright files, cached or not, and in scoring."""
    root = voc_folder(train=8, val=1, test=1, size=[(24, 32), (17, 40)])
    displayed = {}
    for number in range(8):
        example = turn_file(example_of(root, f"train_{number}"), number + 1, ".jpg" if number % 3 else ".png")
        with Image.open(example.image) as stored:
            displayed[example.id] = as_displayed(np.array(stored), number + 1)
    found = prepared(root, tmp_path, "apply")
    examples, sizes = found.splits["train"], found.sizes("train")
    np.testing.assert_array_equal(sizes, sizes_of(examples))
    source = training_images(examples, sizes, None, cache_mb, tmp_path / "decoded.bin")
    for index, example in enumerate(examples):
        image, _ = source.rectangle(tf.constant(index), tf.constant([0, 0]), source.sizes[index])
        np.testing.assert_array_equal(image, displayed[example.id])
    whole = WholeImages(examples, sizes, long_side=None, multiple=1, batch_size=3, threads=2)
    for indices, images, working, _, own in whole:
        np.testing.assert_array_equal(working, own)
        for index, image in zip(indices.numpy(), images, strict=True):
            np.testing.assert_array_equal(image, displayed[examples[index].id])


def as_displayed(stored: np.ndarray, orientation: int) -> np.ndarray:
    """By the definition of the standard: which displayed row and column the stored rows and columns become."""
    rows = stored.swapaxes(0, 1) if orientation >= 5 else stored
    vertical, horizontal = {
        1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)
    }[orientation]  # fmt: skip
    return rows[::vertical, ::horizontal]


# ---- 16 bits


def test_16_bits_are_refused_with_their_range(voc_folder: Folder, tmp_path: Path) -> None:
    root = voc_folder()
    deepen(example_of(root), channels=3)
    deepen(example_of(root, "val_1"), channels=1)
    with pytest.raises(UserError) as raised:
        prepared(root, tmp_path)
    assert raised.value.faults == (
        "JPEGImages/train_0.png: has 16 bits a channel, with values from 1000 to 3303",
        "JPEGImages/val_1.png: has 16 bits a channel, with values from 1000 to 1767",
        "dataset.intensity=null: the range that becomes 0 to 255 is needed, one for all images: "
        "'dataset.intensity=[low,high]', for example [0,4095] for 12 bits; these values are from 1000 to 3303, and "
        "values outside of the range are clipped",
    )


def deepen(example: Example, channels: int) -> np.ndarray:
    """Replace an image of 24x32 by 16 bits; returns its values, (24, 32, channels) uint16."""
    example.image.unlink()
    values = 1000 + np.arange(24 * 32 * channels).reshape(24, 32, channels).astype(np.uint16)
    example.image.with_suffix(".png").write_bytes(png_of_16_bits(values))
    return values


@pytest.mark.parametrize("cache_mb", [0, 1])
def test_16_bits_are_scaled_alike_everywhere(voc_folder: Folder, tmp_path: Path, cache_mb: int) -> None:
    root = voc_folder(train=2, val=1, test=1)
    values = deepen(example_of(root), channels=3)
    expected = np.clip(np.round((values.astype(float) - 1200) * 255 / 1800), 0, 255)
    found = prepared(root, tmp_path, intensity=[1200, 3000])
    examples, sizes = found.splits["train"], found.sizes("train")
    source = training_images(examples, sizes, None, cache_mb, tmp_path / "decoded.bin")
    image, _ = source.rectangle(tf.constant(0), tf.constant([0, 0]), source.sizes[0])
    np.testing.assert_array_equal(image, expected)
    ((_, images, *_),) = WholeImages(examples[:1], sizes[:1], long_side=None, multiple=1, batch_size=1, threads=2)
    np.testing.assert_array_equal(images[0], expected)


def test_a_range_without_any_value_is_refused(voc_folder: Folder, tmp_path: Path) -> None:
    root = voc_folder()
    deepen(example_of(root), channels=1)
    for bounds in ([0, 255], [1767, 4000]):
        with pytest.raises(UserError) as raised:
            prepared(root, tmp_path, intensity=bounds)
        assert raised.value.faults == (
            f"dataset.intensity=[{bounds[0]},{bounds[1]}]: no image of 16 bits a channel has a value in this range, so "
            "each would be black and white; their values are from 1000 to 1767",
        )
    assert prepared(root, tmp_path, intensity=[0, 1001])


# ---- colours that programs read differently


def test_cmyk_without_adobes_marker_is_refused(voc_folder: Folder) -> None:
    """Pillow inverts it and TensorFlow does not."""
    example = example_of(voc_folder())
    Image.new("CMYK", (32, 24), (9, 99, 199, 0)).save(example.image)
    assert check_pair(example, 3)[0] == []
    content = example.image.read_bytes()
    at = content.index(b"Adobe")
    example.image.write_bytes(content[: at - 4] + content[at + 12 :])
    (fault,) = check_pair(example, 3)[0]
    assert fault.startswith("JPEGImages/train_0.jpg: is a CMYK JPEG without Adobe's marker")
