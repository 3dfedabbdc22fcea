"""Every pair is checked before training, and the result for the same bytes is stored."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data import check
from pipeline.data.check import check_dataset
from pipeline.runtime.errors import UserError
from tests.data.folders import CLASSES, Folder, assert_same, example_of, splits_of

# ---- a dataset


def test_statistics_are_in_the_order_of_the_examples(voc_folder: Folder, tmp_path: Path) -> None:
    sizes = [(24, 32), (40, 16), (8, 9)]
    splits = splits_of(voc_folder(train=3, val=1, test=2, size=sizes))
    checked = check_dataset(splits, CLASSES, tmp_path / "checked")
    assert list(checked.statistics) == ["train", "val", "test"]
    assert [checked.statistics[split].sizes.tolist() for split in splits] == [
        [[24, 32], [40, 16], [8, 9]],
        [[24, 32]],
        [[24, 32], [40, 16]],
    ]
    for split, examples in splits.items():
        for row, example in zip(checked.statistics[split].class_pixels, examples, strict=True):
            mask = np.asarray(Image.open(example.mask))
            assert row.tolist() == [(mask == label).sum() for label in range(3)]
            assert row.dtype == np.int64


def test_faults_are_reported_together_twenty_and_a_count(voc_folder: Folder, tmp_path: Path) -> None:
    """Those of the lists first, then those of each pair in order; files that cannot be read and damaged ones alike."""
    root = voc_folder(train=12, val=2, test=2)
    splits = splits_of(root)
    example_of(root, "train_0").image.unlink()
    example_of(root, "train_0").image.symlink_to("nowhere.jpg")
    example_of(root, "train_1").image.unlink()
    example_of(root, "train_1").image.mkdir()
    for index in range(2, 12):
        example_of(root, f"train_{index}").image.write_bytes(b"")
        example_of(root, f"train_{index}").mask.write_bytes(b"")
    with pytest.raises(UserError) as raised:
        check_dataset(splits, CLASSES, tmp_path / "checked", faults=["fault of a list"])
    damaged = "is not a JPEG or PNG file, or its header is damaged"
    faults = [
        "fault of a list",
        "JPEGImages/train_0.jpg: cannot be read: No such file or directory",
        "JPEGImages/train_1.jpg: cannot be read: Is a directory",
    ]
    for index in range(2, 12):
        faults += [f"JPEGImages/train_{index}.jpg: {damaged}", f"SegmentationClass/train_{index}.png: {damaged}"]
    assert raised.value.faults == (*faults[:20], "and 3 more like these")
    assert not (tmp_path / "checked").exists()


def test_link_to_itself_is_reported(voc_folder: Folder, tmp_path: Path) -> None:
    root = voc_folder()
    image = example_of(root).image
    image.unlink()
    image.symlink_to(image)
    with pytest.raises(UserError) as raised:
        check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    assert raised.value.faults == ("JPEGImages/train_0.jpg: cannot be read: Too many levels of symbolic links",)


def test_progress_is_reported(voc_folder: Folder, tmp_path: Path) -> None:
    splits, reported = splits_of(voc_folder(train=2, val=1, test=1)), []
    check_dataset(splits, CLASSES, tmp_path / "checked", lambda *news: reported.append(news))
    counts = range(1, 5)
    assert reported == [(what, done, 4) for what in ("hashing images", "checking images") for done in counts]


def test_interrupted_check_does_not_wait_for_the_rest(voc_folder: Folder, tmp_path: Path, decoded: list[str]) -> None:
    splits = splits_of(voc_folder(train=200, val=1, test=1, size=(8, 8)))

    def interrupt(what: str, done: int, total: int | None) -> None:
        if what == "checking images":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check_dataset(splits, CLASSES, tmp_path / "checked", interrupt)
    assert len(decoded) < 150
    assert not (tmp_path / "checked").exists()


# ---- the stored result


def test_unchanged_folder_is_not_decoded_again(voc_folder: Folder, tmp_path: Path, decoded: list[str]) -> None:
    splits = splits_of(voc_folder())
    first = check_dataset(splits, CLASSES, tmp_path / "checked")
    assert sorted(decoded) == sorted(example.id for examples in splits.values() for example in examples)
    decoded.clear()
    second = check_dataset(splits, CLASSES, tmp_path / "checked")
    assert decoded == []
    assert_same(first, second)
    assert [path.suffix for path in (tmp_path / "checked").iterdir()] == [".json"]


def test_changed_byte_is_checked_again(voc_folder: Folder, tmp_path: Path, decoded: list[str]) -> None:
    root = voc_folder()
    first = check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    decoded.clear()
    image = example_of(root).image
    image.write_bytes(image.read_bytes() + b"\0")  # after the end of the image, so it decodes as before
    second = check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    assert len(decoded) == 8
    assert second.digest != first.digest


def test_faults_are_found_again(voc_folder: Folder, tmp_path: Path) -> None:
    """No result is stored for a dataset with faults, and a stored one does not hide the faults of lists."""
    root = voc_folder()
    whole = example_of(root).image.read_bytes()
    example_of(root).image.write_bytes(whole[:100])
    for _ in range(2):
        with pytest.raises(UserError, match="train_0"):
            check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    example_of(root).image.write_bytes(whole)
    check_dataset(splits_of(root), CLASSES, tmp_path / "checked")
    with pytest.raises(UserError, match="of a list"):
        check_dataset(splits_of(root), CLASSES, tmp_path / "checked", faults=["of a list"])


def changed_pairs(change: Callable[[list[list[int]]], object]) -> Callable[[str], str]:
    """A change of the rows of the pairs in a stored result."""
    return lambda text: json.dumps({**json.loads(text), "pairs": change(json.loads(text)["pairs"])})


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "\x00" * len(text),
        lambda text: "3",
        lambda text: "{}",
        lambda text: json.dumps(json.loads(text)["pairs"]),
        changed_pairs(lambda rows: rows[:-1]),
        changed_pairs(lambda rows: []),
        changed_pairs(lambda rows: [row[:-1] for row in rows]),
        changed_pairs(lambda rows: [[*row[:-1], "many"] for row in rows]),
        changed_pairs(lambda rows: [rows[0][:-1], *rows[1:]]),
        changed_pairs(lambda rows: [[*row[:-1], None] for row in rows]),
        lambda text: json.dumps({**json.loads(text), "near_copies": [[0, 8]]}),
        lambda text: json.dumps({**json.loads(text), "colours": [[3, 0, 0, 0, 0, 1]]}),
        lambda text: json.dumps({**json.loads(text), "colours": [[1, 0, 0, 0, -1, 1]]}),
    ],
    ids=[
        *("half", "empty", "zeros", "number", "object", "list", "fewer", "none", "narrower", "words", "ragged", "null"),
        *("no such example", "no such class", "negative"),
    ],
)
def test_damaged_result_is_replaced(
    voc_folder: Folder, tmp_path: Path, decoded: list[str], damage: Callable[[str], str]
) -> None:
    splits = splits_of(voc_folder())
    first = check_dataset(splits, CLASSES, tmp_path / "checked")
    (stored,) = (tmp_path / "checked").iterdir()
    good = stored.read_text()
    stored.write_text(damage(good))
    decoded.clear()
    assert_same(check_dataset(splits, CLASSES, tmp_path / "checked"), first)
    assert len(decoded) == 8
    assert stored.read_text() == good


def test_result_of_other_rules_is_not_used(
    voc_folder: Folder, tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = splits_of(voc_folder())
    check_dataset(splits, CLASSES, tmp_path / "checked")
    decoded.clear()
    monkeypatch.setattr(check, "RULES", check.RULES + 1)
    check_dataset(splits, CLASSES, tmp_path / "checked")
    assert len(decoded) == 8


def test_folder_for_results_that_cannot_be_written(voc_folder: Folder, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/checked: cannot be written: Not a directory; set another data_dir"):
        check_dataset(splits_of(voc_folder()), CLASSES, tmp_path / "file" / "checked")


# ---- the digest


def test_digest_depends_on_content_not_on_place(voc_folder: Folder, tmp_path: Path) -> None:
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
    val.write_text("train_3\n" + val.read_text())  # the same images in the same order, split differently
    digests.add(digest(root))
    train.write_text(listed)
    val.write_text("val_0\nval_1\n")
    assert digest(root) == original
    for file in (*(root / "JPEGImages").iterdir(), *(root / "SegmentationClass").iterdir()):
        file.rename(file.with_stem(file.stem.replace("train_0", "train_9")))
    train.write_text(listed.replace("train_0", "train_9"))
    digests.add(digest(root))
    mask = np.asarray(Image.open(example_of(root, "train_9").mask)).copy()
    mask[5, 5] = (mask[5, 5] + 1) % 3
    Image.fromarray(mask).save(example_of(root, "train_9").mask)
    digests.add(digest(root))
    assert len(digests) == 8


def test_contents_give_the_hashes_of_each_image(voc_folder: Folder, tmp_path: Path) -> None:
    """A rerun uses them to name what changed, also if the result of the check was stored."""
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
    example.mask.write_bytes(example.mask.read_bytes() + b"\0")  # which Pillow ignores
    changed = check_dataset(splits, CLASSES, tmp_path / "checked")
    rows = [(split, place) for split in splits for place in range(len(splits[split]))]
    assert [row for row in rows if changed.contents[row[0]][row[1]] != first.contents[row[0]][row[1]]] == [("val", 1)]
    differing = {split for split in splits if changed.split_digests[split] != first.split_digests[split]}
    assert differing == {"val"} and changed.digest != first.digest
