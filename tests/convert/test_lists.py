"""List files as splits: what they leave out, and that no image is lost where they are not used."""

from pathlib import Path

import pytest

from tests.convert.sources import LISTS, converted, drawn_image, index_mask, save, splits_of, write_pairs


def write(tmp_path: Path, **lists: range) -> Path:
    """A VOC folder of a0 to a11, with lists of these images."""
    source = write_pairs(tmp_path / "s", 12, "JPEGImages/{}.jpg", "SegmentationClass/{}.png")
    (source / LISTS).mkdir(parents=True)
    for name, numbers in lists.items():
        (source / LISTS / f"{name}.txt").write_text("".join(f"a{number}\n" for number in numbers))
    return source


def counts(source: Path, *arguments: str) -> dict[str, int]:
    found = splits_of(converted(source, *arguments))
    assert len(set().union(*found.values())) == sum(map(len, found.values()))
    return {split: len(ids) for split, ids in found.items()}


@pytest.mark.parametrize(
    ("lists", "expected", "said"),
    [
        ({"trainval": range(8), "test": range(8, 12)}, {"train": 8, "test": 4}, "trainval.txt are train"),
        ({"trainval": range(7), "test": range(8, 12)}, {"train": 7, "test": 4}, "images in no list are left out: a7"),
        ({"trainval": range(8), "val": range(6, 8), "test": range(8, 12)}, {"train": 6, "val": 2, "test": 4},
         "images of trainval.txt are train"),
        ({"trainval": range(8), "train": range(6), "test": range(8, 12)}, {"train": 6, "val": 2, "test": 4},
         "2 other images of trainval.txt are val"),
        ({"trainval": range(8), "train": range(6), "val": range(6, 8)}, {"train": 6, "val": 2}, "in no list are left"),
        ({"test": range(8, 12)}, {"train": 8, "test": 4}, "8 images in no list are train: lists are of test alone"),
        ({"val": range(8, 12), "mine": range(3)}, {"train": 8, "val": 4}, "8 images in no list are train"),
        ({"val": range(3), "test": range(8, 12)}, {"train": 5, "val": 3, "test": 4}, "lists are of val and test alone"),
        ({"train": range(5), "val": range(5, 8)}, {"train": 5, "val": 3}, "in no list are left out: a10, a11, a8"),
    ],
)  # fmt: skip
def test_lists_are_splits(
    tmp_path: Path, lists: dict[str, range], expected: dict[str, int], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path, **lists)
    assert counts(source) == expected
    out = capsys.readouterr().out
    assert said in out and "note: splits are the source's own; split=[0.8,0.1,0.1] makes others" in out
    for split in expected.keys() & lists.keys():
        wanted = {f"a{number}" for number in lists[split]}
        assert set(splits_of(tmp_path / "s-voc")[split]) == wanted


@pytest.mark.parametrize(
    "lists",
    [{"train": range(8)}, {"test": range(12)}, {"trainval": range(8)}, {"train": range(4), "holdout": range(4, 8)}],
)
def test_all_images_are_kept_where_lists_make_up_no_splits(
    tmp_path: Path, lists: dict[str, range], capsys: pytest.CaptureFixture[str]
) -> None:
    assert counts(write(tmp_path, **lists)) == {"train": 10, "val": 1, "test": 1}
    out = capsys.readouterr().out
    assert f"note: the source's own splits ({next(iter(lists)).removesuffix('val')}) are not used" in out
    assert "left out" not in out


@pytest.mark.parametrize("argument", ["split=[0.5,0.25,0.25]", "group=^([ab].?)"])
def test_all_images_are_kept_where_other_splits_are_wanted(
    tmp_path: Path, argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write(tmp_path, train=range(4), val=range(4, 6), test=range(6, 8))
    for number in range(12, 20):
        save(source / f"JPEGImages/b{number}.jpg", drawn_image(number))
        save(source / f"SegmentationClass/b{number}.png", index_mask(number))
    assert sum(counts(source, argument).values()) == 20
    assert "left out" not in capsys.readouterr().out


def test_images_of_lists_that_are_not_used_have_no_other_split(tmp_path: Path) -> None:
    """The split of an image does not depend on lists that are not used."""
    lists, plain = write(tmp_path / "lists", train=range(4)), write(tmp_path / "plain")
    assert splits_of(converted(lists)) == splits_of(converted(plain))
