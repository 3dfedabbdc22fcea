"""The check of one pair: image and mask can be decoded, have one size, and every label is that of a class."""

import dataclasses
import io
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipeline.data import image_files
from pipeline.data.check import check_pair
from pipeline.data.decode import decode_image
from pipeline.data.palette import VOID
from pipeline.data.voc import Example
from tests.data.folders import CLASSES, Folder, example_of
from tests.data.png_files import grey_png, png_header


def faults_of(example: Example) -> list[str]:
    return check_pair(example, len(CLASSES))[0]


def test_pair_without_faults(voc_folder: Folder) -> None:
    root = voc_folder()
    mask = np.asarray(Image.open(example_of(root).mask))
    assert (mask == VOID).any()
    expected = [24, 32, 1, *((mask == label).sum() for label in range(3))]
    assert check_pair(example_of(root), 3) == ([], expected)


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_masks_of_one_channel_are_accepted(voc_folder: Folder, mode: str) -> None:
    example = example_of(voc_folder())
    indices = np.zeros((24, 32), np.uint8)
    indices[3:5] = 1
    image = Image.fromarray(indices * 255).convert("1") if mode == "1" else Image.fromarray(indices)
    if mode == "P":
        image.putpalette(bytes(768))  # all colours equal: only the indices matter
    image.save(example.mask)
    with Image.open(example.mask) as stored:
        assert stored.mode == mode
    assert check_pair(example, 3) == ([], [24, 32, 1, 24 * 32 - 64, 64, 0])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_mask_that_holds_colours_is_refused(voc_folder: Folder, mode: str) -> None:
    example = example_of(voc_folder())
    Image.new(mode, (32, 24)).save(example.mask)
    assert faults_of(example) == [
        f"SegmentationClass/train_0.png: is {mode}; a palette or one-channel 8-bit PNG of indices expected"
    ]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_mask_of_two_or_four_bits_is_refused(voc_folder: Folder, bits: int) -> None:
    """Pillow reads 0 and 1 of one bit as they are, and stretches more bits: 1 of 4 bits becomes 17."""
    example = example_of(voc_folder())
    rows = (b"\x00" + b"\x10" * (32 * bits // 8)) * 24
    example.mask.write_bytes(grey_png(32, 24, bits, zlib.compress(rows)))
    with Image.open(example.mask) as opened:
        assert np.max(opened) == {1: 1, 2: 85, 4: 17}[bits]
    reason = (
        f"is grey of {bits} bits; a palette or one-channel 8-bit PNG of indices expected: save it with 8 bits, its "
        "values unchanged"
    )
    assert faults_of(example) == ([] if bits == 1 else [f"SegmentationClass/train_0.png: {reason}"])


def test_grey_mask_of_16_bits_is_refused(voc_folder: Folder) -> None:
    example = example_of(voc_folder())
    Image.new("I;16", (32, 24)).save(example.mask)
    assert faults_of(example) == [
        "SegmentationClass/train_0.png: is grey of 16 bits; a palette or one-channel 8-bit PNG of indices expected: "
        "save it with 8 bits, its values unchanged"
    ]


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_images_of_other_modes_are_accepted(voc_folder: Folder, mode: str) -> None:
    example = example_of(voc_folder())
    Image.new(mode, (32, 24)).save(example.image)
    assert faults_of(example) == []


def test_mask_of_another_size(voc_folder: Folder) -> None:
    example = example_of(voc_folder())
    Image.new("L", (24, 32)).save(example.mask)
    assert faults_of(example) == [
        "SegmentationClass/train_0.png: is 24x32, but its image JPEGImages/train_0.jpg is 32x24"
    ]


def test_label_outside_the_classes(voc_folder: Folder) -> None:
    example = example_of(voc_folder())
    indices = np.zeros((24, 32), np.uint8)
    indices[0, :9] = [0, 1, 2, VOID, 3, 9, 3, 254, 9]
    Image.fromarray(indices).save(example.mask)
    assert faults_of(example) == [
        "SegmentationClass/train_0.png: holds label 3, 9, 254; 0 to 2 (3 dataset.classes) or 255 for void expected"
    ]


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")  # as outside of pytest
@pytest.mark.parametrize("kind", ["image", "mask"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not a JPEG or PNG file, or its header is damaged"),
        (b"<html>Not found</html>", "is not a JPEG or PNG file, or its header is damaged"),
        (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "is not a JPEG or PNG file, or its header is damaged"),
        (png_header(65535, 65535), "cannot be decoded: "),
        (png_header(12000, 12000), "cannot be decoded: "),
        (png_header(8193, 8192), "cannot be decoded: 8193x8192 pixels are more than the 67108864 allowed"),
    ],
    ids=["empty", "web page", "GIF", "billions of pixels", "above Pillow's cap", "just above the cap"],
)
def test_file_that_is_not_an_image(voc_folder: Folder, kind: str, content: bytes, reason: str) -> None:
    example = example_of(voc_folder())
    getattr(example, kind).write_bytes(content)
    (fault,) = faults_of(example)
    name = "JPEGImages/train_0.jpg" if kind == "image" else "SegmentationClass/train_0.png"
    assert fault.startswith(f"{name}: {reason}")
    if content.startswith(b"\x89PNG"):
        assert "pixels" in fault


def test_pixel_cap_is_reached_without_decoding(voc_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    example = example_of(voc_folder())
    monkeypatch.setattr(image_files, "MAX_PIXELS", 24 * 32)
    assert faults_of(example) == []
    monkeypatch.setattr(image_files, "MAX_PIXELS", 24 * 32 - 1)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    reason = "cannot be decoded: 32x24 pixels are more than the 767 allowed"
    assert faults_of(example) == [f"JPEGImages/train_0.jpg: {reason}", f"SegmentationClass/train_0.png: {reason}"]


def test_mask_that_is_a_jpeg(voc_folder: Folder) -> None:
    example = example_of(voc_folder())
    example.mask.write_bytes(example.image.read_bytes())
    (fault,) = faults_of(example)
    assert fault.startswith("SegmentationClass/train_0.png: is not a")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_image(voc_folder: Folder, suffix: str) -> None:
    """Cut anywhere, down to the last byte: even if Pillow reads all pixels, TensorFlow would stop the training."""
    example = example_of(voc_folder())
    buffer = io.BytesIO()
    with Image.open(example.image) as image:
        image.save(buffer, {".jpg": "JPEG", ".png": "PNG"}[suffix])
    whole, cut = buffer.getvalue(), dataclasses.replace(example, image=example.image.with_suffix(suffix))
    cut.image.write_bytes(whole)
    assert faults_of(cut) == []
    for length in [*range(0, len(whole), 61), *range(len(whole) - 25, len(whole))]:
        cut.image.write_bytes(whole[:length])
        (fault,) = faults_of(cut)
        assert fault.startswith(f"JPEGImages/train_0{suffix}: ")


def test_truncated_mask(voc_folder: Folder) -> None:
    example = example_of(voc_folder())
    whole = example.mask.read_bytes()
    for length in [*range(0, len(whole), 23), *range(len(whole) - 25, len(whole))]:
        example.mask.write_bytes(whole[:length])
        (fault,) = faults_of(example)
        assert fault.startswith("SegmentationClass/train_0.png: ")


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_wrong_checksum_of_a_png(voc_folder: Folder, kind: str) -> None:
    """The pixels of a PNG with a wrong checksum can be read, but TensorFlow refuses them."""
    example = example_of(voc_folder())
    if kind == "image":
        example = dataclasses.replace(example, image=example.image.with_suffix(".png"))
        Image.new("RGB", (32, 24)).save(example.image)
    path = getattr(example, kind)
    content = bytearray(path.read_bytes())
    content[-13] ^= 1  # the last byte of the checksum before the closing chunk of 12 bytes
    path.write_bytes(content)
    (fault,) = faults_of(example)
    assert fault.startswith(f"{path.parent.name}/train_0.png: cannot be decoded: ")


def test_damaged_bytes_never_raise(voc_folder: Folder) -> None:
    example = example_of(voc_folder())
    rng = np.random.default_rng(0)
    faulty = 0
    for path in (example.image, example.mask):
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(150):
            damaged = whole.copy()
            damaged[rng.integers(0, min(len(whole), rng.choice([60, len(whole)])), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(damaged.tobytes())
            faulty += bool(faults_of(example))
        path.write_bytes(whole.tobytes())
    assert faulty > 150


def test_image_that_only_pillow_can_read_is_a_fault(voc_folder: Folder) -> None:
    """Pillow loads some damaged JPEGs without an error; TensorFlow would stop in the middle of the training."""
    example = example_of(voc_folder(size=(96, 128)))
    whole = np.frombuffer(example.image.read_bytes(), np.uint8)
    rng, only_here = np.random.default_rng(0), 0
    for _ in range(30_000):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 2)] = rng.integers(0, 256, 2)
        example.image.write_bytes(damaged.tobytes())
        try:
            image_files.open_whole(example.image).close()
        except image_files.UNDECODABLE:
            continue
        try:
            decode_image(str(example.image))
        except tf.errors.InvalidArgumentError:
            only_here += 1
            assert faults_of(example)[0].endswith("cannot be decoded: its data are damaged or end too early")
            if only_here == 3:
                return
    raise AssertionError(f"only {only_here} such images were found")


def test_faults_name_files_in_subfolders(voc_folder: Folder) -> None:
    """Images in subfolders are named with their folder."""
    root = voc_folder()
    example = example_of(root)
    for path in (example.image, example.mask):
        (path.parent / "site").mkdir()
        path.rename(path.parent / "site" / path.name)
    example = example_of(root, "site/train_0")
    example.image.write_bytes(b"")
    example.mask.write_bytes(b"")
    assert [fault.partition(":")[0] for fault in faults_of(example)] == [
        "JPEGImages/site/train_0.jpg",
        "SegmentationClass/site/train_0.png",
    ]
