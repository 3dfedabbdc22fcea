"""Every pair is looked at before training; the verdict on the same bytes is kept."""

import dataclasses
import hashlib
import io
import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipeline.config import DatasetConfig, SplitsConfig
from pipeline.data import check, picture_file
from pipeline.data.check import Checked, check_dataset, check_pair
from pipeline.data.decode import decode_image
from pipeline.data.palette import VOID
from pipeline.data.voc import Example, Splits, find_examples
from pipeline.errors import UserError

CLASSES = ["background", "cat", "dog"]
Folder = Callable[..., Path]


def splits_of(root: Path) -> Splits:
    config = DatasetConfig(name="folder", classes=CLASSES, splits=SplitsConfig("train", "val", "test"))
    splits, faults = find_examples(root, config)
    assert not faults
    return splits


def pair(root: Path, id: str = "train_0") -> Example:
    return Example(id, root / "JPEGImages" / f"{id}.jpg", root / "SegmentationClass" / f"{id}.png")


def faults_of(example: Example) -> list[str]:
    return check_pair(example, len(CLASSES))[0]


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims this size and holds no pixel."""

    def chunk(content: bytes) -> bytes:
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(header) + chunk(b"IDAT")


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of the pairs that are decoded from now on."""
    ids: list[str] = []
    original = check.check_pair

    def counting(example: Example, classes: int) -> tuple[list[str], list[int]]:
        ids.append(example.id)
        return original(example, classes)

    monkeypatch.setattr(check, "check_pair", counting)
    return ids


# ---- one pair


def test_pair_without_faults(voc_folder: Folder) -> None:
    root = voc_folder()
    mask = np.asarray(Image.open(pair(root).mask))
    assert (mask == VOID).any()
    expected = [24, 32, *((mask == label).sum() for label in range(3))]
    assert check_pair(pair(root), 3) == ([], expected)


@pytest.mark.parametrize("mode", ["L", "1", "P"])
def test_masks_of_one_channel(voc_folder: Folder, mode: str) -> None:
    example = pair(voc_folder())
    indices = np.zeros((24, 32), np.uint8)
    indices[3:5] = 1
    picture = Image.fromarray(indices * 255).convert("1") if mode == "1" else Image.fromarray(indices)
    if mode == "P":
        picture.putpalette(bytes(768))  # every colour the same: only the indices count
    picture.save(example.mask)
    with Image.open(example.mask) as stored:
        assert stored.mode == mode
    assert check_pair(example, 3) == ([], [24, 32, 24 * 32 - 64, 64, 0])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "I;16"])
def test_mask_that_holds_colours(voc_folder: Folder, mode: str) -> None:
    example = pair(voc_folder())
    Image.new(mode, (32, 24)).save(example.mask)
    assert faults_of(example) == [
        f"SegmentationClass/train_0.png: is {mode}; a palette or one-channel 8-bit PNG of indices expected"
    ]


@pytest.mark.parametrize("mode", ["L", "CMYK", "RGB"])
def test_pictures_of_other_modes(voc_folder: Folder, mode: str) -> None:
    example = pair(voc_folder())
    Image.new(mode, (32, 24)).save(example.image)
    assert faults_of(example) == []


def test_mask_of_another_size(voc_folder: Folder) -> None:
    example = pair(voc_folder())
    Image.new("L", (24, 32)).save(example.mask)
    assert faults_of(example) == [
        "SegmentationClass/train_0.png: is 24x32, but its picture JPEGImages/train_0.jpg is 32x24"
    ]


def test_label_outside_the_classes(voc_folder: Folder) -> None:
    example = pair(voc_folder())
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
def test_file_that_is_no_picture(voc_folder: Folder, kind: str, content: bytes, reason: str) -> None:
    example = pair(voc_folder())
    getattr(example, kind).write_bytes(content)
    (fault,) = faults_of(example)
    name = "JPEGImages/train_0.jpg" if kind == "image" else "SegmentationClass/train_0.png"
    assert fault.startswith(f"{name}: {reason}")
    if content.startswith(b"\x89PNG"):
        assert "pixels" in fault


def test_pixel_cap_is_reached_without_decoding(voc_folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    example = pair(voc_folder())
    monkeypatch.setattr(picture_file, "MAX_PIXELS", 24 * 32)
    assert faults_of(example) == []
    monkeypatch.setattr(picture_file, "MAX_PIXELS", 24 * 32 - 1)
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("decoded"))
    reason = "cannot be decoded: 32x24 pixels are more than the 767 allowed"
    assert faults_of(example) == [f"JPEGImages/train_0.jpg: {reason}", f"SegmentationClass/train_0.png: {reason}"]


def test_mask_that_is_a_jpeg(voc_folder: Folder) -> None:
    example = pair(voc_folder())
    example.mask.write_bytes(example.image.read_bytes())
    (fault,) = faults_of(example)
    assert fault.startswith("SegmentationClass/train_0.png: is not a")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_picture(voc_folder: Folder, suffix: str) -> None:
    """Cut anywhere, down to the last byte: where Pillow has all pixels, TensorFlow would still stop the training."""
    example = pair(voc_folder())
    buffer = io.BytesIO()
    with Image.open(example.image) as picture:
        picture.save(buffer, {".jpg": "JPEG", ".png": "PNG"}[suffix])
    whole, cut = buffer.getvalue(), dataclasses.replace(example, image=example.image.with_suffix(suffix))
    cut.image.write_bytes(whole)
    assert faults_of(cut) == []
    for length in [*range(0, len(whole), 61), *range(len(whole) - 25, len(whole))]:
        cut.image.write_bytes(whole[:length])
        (fault,) = faults_of(cut)
        assert fault.startswith(f"JPEGImages/train_0{suffix}: ")


def test_truncated_mask(voc_folder: Folder) -> None:
    example = pair(voc_folder())
    whole = example.mask.read_bytes()
    for length in [*range(0, len(whole), 23), *range(len(whole) - 25, len(whole))]:
        example.mask.write_bytes(whole[:length])
        (fault,) = faults_of(example)
        assert fault.startswith("SegmentationClass/train_0.png: ")


@pytest.mark.parametrize("kind", ["image", "mask"])
def test_checksum_of_a_png(voc_folder: Folder, kind: str) -> None:
    """The pixels of a PNG with a wrong checksum can be read, but TensorFlow refuses them."""
    example = pair(voc_folder())
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
    example = pair(voc_folder())
    rng = np.random.default_rng(0)
    told = 0
    for path in (example.image, example.mask):
        whole = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(150):
            damaged = whole.copy()
            damaged[rng.integers(0, min(len(whole), rng.choice([60, len(whole)])), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(damaged.tobytes())
            told += bool(faults_of(example))
        path.write_bytes(whole.tobytes())
    assert told > 150


def test_what_pillow_reads_and_tensorflow_does_not_is_a_fault(voc_folder: Folder) -> None:
    """Some damaged JPEGs load without a word in Pillow, and would stop training in its midst."""
    example = pair(voc_folder(size=(96, 128)))
    whole = np.frombuffer(example.image.read_bytes(), np.uint8)
    rng, only_here = np.random.default_rng(0), 0
    for _ in range(3000):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 2)] = rng.integers(0, 256, 2)
        example.image.write_bytes(damaged.tobytes())
        try:
            picture_file.open_whole(example.image).close()
        except picture_file.UNDECODABLE:
            continue
        try:
            decode_image(str(example.image))
        except tf.errors.InvalidArgumentError:
            only_here += 1
            assert faults_of(example)[0].endswith("cannot be decoded: its data are damaged or end too early")
    assert only_here > 0


def test_names_are_those_of_the_ids(voc_folder: Folder) -> None:
    """Pictures in sub-folders are named in full, a link by its own name."""
    root = voc_folder()
    example = pair(root)
    for path in (example.image, example.mask):
        (path.parent / "site").mkdir()
        path.rename(path.parent / "site" / path.name)
    example = pair(root, "site/train_0")
    example.image.write_bytes(b"")
    example.mask.write_bytes(b"")
    assert [fault.partition(":")[0] for fault in faults_of(example)] == [
        "JPEGImages/site/train_0.jpg",
        "SegmentationClass/site/train_0.png",
    ]


# ---- a dataset


def test_facts_in_the_order_of_the_examples(voc_folder: Folder, tmp_path: Path) -> None:
    sizes = [(24, 32), (40, 16), (8, 9)]
    splits = splits_of(voc_folder(train=3, val=1, test=2, size=sizes))
    checked = check_dataset(splits, CLASSES, tmp_path / "checked")
    assert list(checked.facts) == ["train", "val", "test"]
    assert [checked.facts[split].sizes.tolist() for split in splits] == [
        [[24, 32], [40, 16], [8, 9]],
        [[24, 32]],
        [[24, 32], [40, 16]],
    ]
    for split, examples in splits.items():
        for row, example in zip(checked.facts[split].class_pixels, examples, strict=True):
            mask = np.asarray(Image.open(example.mask))
            assert row.tolist() == [(mask == label).sum() for label in range(3)]
            assert row.dtype == np.int64


def test_all_faults_together_twenty_and_a_count(voc_folder: Folder, tmp_path: Path) -> None:
    """Of the lists first, then of each pair in order: both of a pair, unreadable and undecodable ones alike."""
    root = voc_folder(train=12, val=2, test=2)
    splits = splits_of(root)
    pair(root, "train_0").image.unlink()
    pair(root, "train_0").image.symlink_to("nowhere.jpg")
    pair(root, "train_1").image.unlink()
    pair(root, "train_1").image.mkdir()
    for index in range(2, 12):
        pair(root, f"train_{index}").image.write_bytes(b"")
        pair(root, f"train_{index}").mask.write_bytes(b"")
    with pytest.raises(UserError) as told:
        check_dataset(splits, CLASSES, tmp_path / "checked", faults=["fault of a list"])
    damaged = "is not a JPEG or PNG file, or its header is damaged"
    faults = [
        "fault of a list",
        "JPEGImages/train_0.jpg: cannot be read: No such file or directory",
        "JPEGImages/train_1.jpg: cannot be read: Is a directory",
    ]
    for index in range(2, 12):
        faults += [f"JPEGImages/train_{index}.jpg: {damaged}", f"SegmentationClass/train_{index}.png: {damaged}"]
    assert told.value.faults == (*faults[:20], "and 3 more like these")
    assert not (tmp_path / "checked").exists()


def test_link_to_itself_is_told(voc_folder: Folder, tmp_path: Path) -> None:
    root = voc_folder()
    image = pair(root).image
    image.unlink()
    image.symlink_to(image)
    with pytest.raises(UserError) as told:
        check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    assert told.value.faults == ("JPEGImages/train_0.jpg: cannot be read: Too many levels of symbolic links",)


def test_progress_is_told(voc_folder: Folder, tmp_path: Path) -> None:
    splits, told = splits_of(voc_folder(train=2, val=1, test=1)), []
    check_dataset(splits, CLASSES, tmp_path / "checked", lambda *news: told.append(news))
    counts = range(1, 5)
    assert told == [(what, done, 4) for what in ("hashing pictures", "checking pictures") for done in counts]


def test_interrupted_does_not_wait_for_the_rest(voc_folder: Folder, tmp_path: Path, decoded: list[str]) -> None:
    splits = splits_of(voc_folder(train=200, val=1, test=1, size=(8, 8)))

    def interrupt(what: str, done: int, total: int | None) -> None:
        if what == "checking pictures":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_dataset(splits, CLASSES, tmp_path / "checked", interrupt)
    assert len(decoded) < 150
    assert not (tmp_path / "checked").exists()


# ---- the verdict


def test_unchanged_folder_is_not_decoded_again(voc_folder: Folder, tmp_path: Path, decoded: list[str]) -> None:
    splits = splits_of(voc_folder())
    first = check_dataset(splits, CLASSES, tmp_path / "checked")
    assert sorted(decoded) == sorted(example.id for examples in splits.values() for example in examples)
    decoded.clear()
    second = check_dataset(splits, CLASSES, tmp_path / "checked")
    assert decoded == []
    assert_same(first, second)
    assert [path.suffix for path in (tmp_path / "checked").iterdir()] == [".json"]


def assert_same(one: Checked, other: Checked) -> None:
    assert one.digest == other.digest
    assert list(one.facts) == list(other.facts)
    for split, facts in one.facts.items():
        assert np.array_equal(facts.sizes, other.facts[split].sizes)
        assert np.array_equal(facts.class_pixels, other.facts[split].class_pixels)


def test_changed_byte_is_checked_again(voc_folder: Folder, tmp_path: Path, decoded: list[str]) -> None:
    root = voc_folder()
    first = check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    decoded.clear()
    image = pair(root).image
    image.write_bytes(image.read_bytes() + b"\0")  # after the picture's end: it decodes as before
    second = check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    assert len(decoded) == 8
    assert second.digest != first.digest


def test_faults_are_found_again(voc_folder: Folder, tmp_path: Path) -> None:
    """No verdict is kept on a dataset with faults, and one that is kept does not hide the faults of lists."""
    root = voc_folder()
    whole = pair(root).image.read_bytes()
    pair(root).image.write_bytes(whole[:100])
    for _ in range(2):
        with pytest.raises(UserError, match="train_0"):
            check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    pair(root).image.write_bytes(whole)
    check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    with pytest.raises(UserError, match="of a list"):
        check_dataset(splits_of(root), CLASSES, tmp_path / "checked", faults=["of a list"])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "\x00" * len(text),
        lambda text: "3",
        lambda text: "{}",
        lambda text: json.dumps(json.loads(text)[:-1]),
        lambda text: json.dumps([row[:-1] for row in json.loads(text)]),
        lambda text: json.dumps([[*row[:-1], "many"] for row in json.loads(text)]),
        lambda text: json.dumps([json.loads(text)[0][:-1], *json.loads(text)[1:]]),
        lambda text: json.dumps([[*row[:-1], None] for row in json.loads(text)]),
    ],
    ids=["half", "empty", "zeros", "number", "object", "fewer", "narrower", "words", "ragged", "null"],
)
def test_spoilt_verdict_is_made_anew(
    voc_folder: Folder, tmp_path: Path, decoded: list[str], spoil: Callable[[str], str]
) -> None:
    splits = splits_of(voc_folder())
    first = check_dataset(splits, CLASSES, tmp_path / "checked")
    (kept,) = (tmp_path / "checked").iterdir()
    good = kept.read_text()
    kept.write_text(spoil(good))
    decoded.clear()
    assert_same(check_dataset(splits, CLASSES, tmp_path / "checked"), first)
    assert len(decoded) == 8
    assert kept.read_text() == good


def test_verdict_of_other_rules_is_not_trusted(
    voc_folder: Folder, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = splits_of(voc_folder())
    check_dataset(splits, CLASSES, tmp_path / "checked")
    decoded.clear()
    monkeypatch.setattr(check, "RULES", check.RULES + 1)
    check_dataset(splits, CLASSES, tmp_path / "checked")
    assert len(decoded) == 8


def test_place_for_verdicts_that_cannot_be_written(voc_folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/checked: cannot be written: Not a directory; set another data_dir"):
        check_dataset(splits_of(voc_folder()), CLASSES, tmp_path / "file" / "checked")


# ---- the digest


def test_digest_depends_on_content_and_not_on_place(voc_folder: Folder, tmp_path: Path) -> None:
    def digest(root: Path, classes: list[str] = CLASSES) -> str:
        return check_dataset(splits_of(root), classes, tmp_path / "checked").digest

    root = voc_folder(name="one")
    original = digest(root)
    assert len(original) == 64
    assert digest(voc_folder(name="other")) == original
    digests = {original, digest(voc_folder(name="noise", seed=1)), digest(root, ["background", "dog", "cat"])}
    train, val = (root / "ImageSets" / "Segmentation" / f"{split}.txt" for split in ("train", "val"))
    listed = train.read_text()
    train.write_text("train_1\ntrain_0\ntrain_2\ntrain_3\n")
    digests.add(digest(root))
    train.write_text("train_0\ntrain_1\ntrain_2\n")
    digests.add(digest(root))
    val.write_text("train_3\n" + val.read_text())  # the same pictures in the same order, in other splits
    digests.add(digest(root))
    train.write_text(listed)
    val.write_text("val_0\nval_1\n")
    assert digest(root) == original
    for file in (*(root / "JPEGImages").iterdir(), *(root / "SegmentationClass").iterdir()):
        file.rename(file.with_stem(file.stem.replace("train_0", "train_9")))
    train.write_text(listed.replace("train_0", "train_9"))
    digests.add(digest(root))
    mask = np.asarray(Image.open(pair(root, "train_9").mask)).copy()
    mask[5, 5] = (mask[5, 5] + 1) % 3
    Image.fromarray(mask).save(pair(root, "train_9").mask)
    digests.add(digest(root))
    assert len(digests) == 8


def test_what_the_digest_is_over_is_told_picture_by_picture(voc_folder: Folder, tmp_path: Path) -> None:
    """A rerun names what changed with it, also where the verdict was kept."""
    root = voc_folder()
    splits = splits_of(root)
    first, again = (check_dataset(splits, CLASSES, tmp_path / "checked") for _ in range(2))
    assert first.contents == again.contents
    assert {split: [row[0] for row in rows] for split, rows in first.contents.items()} == {
        split: [example.id for example in listed] for split, listed in splits.items()
    }
    example = splits["val"][1]
    hashes = [hashlib.sha256(path.read_bytes()).hexdigest() for path in (example.image, example.mask)]
    assert first.contents["val"][1] == [example.id, *hashes]
    example.mask.write_bytes(example.mask.read_bytes() + b"\0")  # what Pillow does not mind
    changed = check_dataset(splits, CLASSES, tmp_path / "checked")
    rows = [(split, place) for split in splits for place in range(len(splits[split]))]
    assert [row for row in rows if changed.contents[row[0]][row[1]] != first.contents[row[0]][row[1]]] == [("val", 1)]
    differing = {split for split in splits if changed.split_digests[split] != first.split_digests[split]}
    assert differing == {"val"} and changed.digest != first.digest
