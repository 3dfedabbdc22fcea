"""Folds, groups that stay together, and limits: how the lists of a folder become splits."""

from collections import Counter
from hashlib import sha256

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from pipeline.data.fixed_choice import hold_out, smallest_hashes, take_fold
from pipeline.data.groups import group_warnings, groups_of
from pipeline.data.image_files import read_index_mask
from pipeline.data.prepare import prepare_dataset
from pipeline.runtime.errors import UserError
from tests.data.folders import Folder, dataset, faults_of, folder_config, ids_of, write_list

SIZES = st.lists(st.integers(1, 9), min_size=2, max_size=12)  # of groups


def grouped(sizes: list[int]) -> tuple[list[str], dict[str, str]]:
    ids = [f"g{group}_{number}" for group, size in enumerate(sizes) for number in range(size)]
    return ids, {name: name.partition("_")[0] for name in ids}


@given(SIZES, st.data())
def test_folds_are_a_partition_and_keep_groups(sizes: list[int], data: st.DataObject) -> None:
    ids, groups = grouped(sizes)
    folds = data.draw(st.integers(2, len(sizes)))
    parts = [take_fold(ids, fold, folds, groups) for fold in range(folds)]
    assert sorted(name for _, val in parts for name in val) == sorted(ids)
    for train, val in parts:
        assert val and sorted([*train, *val]) == sorted(ids)
        assert not {groups[name] for name in train} & {groups[name] for name in val}


@given(st.integers(2, 60), st.integers(2, 9))
def test_folds_of_single_images_are_of_equal_size(count: int, folds: int) -> None:
    ids = [f"image {number}" for number in range(max(count, folds))]
    alone = {name: name for name in ids}
    parts = [take_fold(ids, fold, folds, alone)[1] for fold in range(folds)]
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    in_order = sorted(ids, key=lambda name: sha256(f"fold {name}".encode()).digest())
    assert set(parts[0]) == set(in_order[: sizes[0]])
    shuffled = take_fold(ids[::-1], 1, folds, alone)[1]
    assert shuffled == parts[1][::-1]


@given(SIZES, st.floats(0.01, 0.99))
def test_held_out_groups_are_whole(sizes: list[int], fraction: float) -> None:
    ids, groups = grouped(sizes)
    train, val = hold_out(ids, fraction, groups)
    in_order = smallest_hashes(set(groups.values()), len(sizes))
    held = [group for group in in_order if group in {groups[name] for name in val}]
    assert held == in_order[: len(held)] and not set(held) & {groups[name] for name in train}
    wanted, counts = max(1, round(fraction * len(ids))), Counter(groups.values())
    assert len(val) >= wanted > len(val) - counts[held[-1]]


def test_a_fold_of_train_is_val(voc_folder: Folder) -> None:
    root = voc_folder(train=7, val=2, test=2)
    found = [ids_of(root, dataset(folds=3, fold=fold)) for fold in range(3)]
    whole = [f"train_{number}" for number in range(7)]
    assert sorted(name for splits in found for name in splits["val"]) == whole, "the list of val is not used"
    assert all(sorted(splits["train"] + splits["val"]) == whole for splits in found)
    assert all(splits["test"] == ["test_0", "test_1"] for splits in found)
    assert faults_of(root, dataset(folds=8, fold=0)) == [
        "dataset.folds=8: ImageSets/Segmentation/train.txt has only 7 ids; at most 7 expected"
    ]


def test_extra_images_of_a_held_out_group_are_left_out(voc_folder: Folder) -> None:
    root = voc_folder(train=6, val=6, test=2)
    write_list(root, "more", "".join(f"val_{number}\n" for number in range(6)))
    for fold in (0, 1):
        found = ids_of(root, dataset(folds=2, fold=fold, group=r"_(\d)$", extra="more"))
        held = {name[-1] for name in found["val"]}
        assert held and not held & {name[-1] for name in found["train"]} and len(found["train"]) == 12 - 2 * len(held)


def test_limit_takes_the_first_by_hash_of_each_split(voc_folder: Folder) -> None:
    root = voc_folder(train=9, val=4, test=3)
    whole, few = ids_of(root, dataset(val=None)), ids_of(root, dataset(val=None, val_fraction=0.1, limit=3))
    more = ids_of(root, dataset(val=None, limit=5))
    assert {split: len(ids) for split, ids in few.items()} == {"train": 3, "val": 1, "test": 3}
    assert set(few["train"]) == set(smallest_hashes(whole["train"], 3)) < set(more["train"])
    assert few["train"] == [name for name in whole["train"] if name in few["train"]]


def test_a_part_of_a_split_may_lack_classes(voc_folder: Folder) -> None:
    """A whole split that has one class alone is refused; in a quick look that is a warning."""
    root = voc_folder(train=4, val=1, test=1)
    for mask in (root / "SegmentationClass").iterdir():
        Image.fromarray(np.zeros_like(read_index_mask(mask))).save(mask)
    with pytest.raises(UserError, match="no mask of the train split has a class besides background"):
        prepare_dataset(folder_config(root))
    found = prepare_dataset(folder_config(root, "dataset.limit=2"))
    assert any("no mask of the train split has a class besides background" in warning for warning in found.warnings)


@pytest.mark.parametrize("pattern", [r"(a+)+$", r"^(\w*\w*\w*\w*\w*\w*\w*\w*)*x$", r"^((a|aa)+)$"])
def test_no_pattern_takes_for_ever(pattern: str) -> None:
    faults: list[str] = []
    groups_of(["a" * 200 + "!"], pattern, faults)
    assert len(faults) == 1 and "names no group for 1 of 1 ids" in faults[0]


def test_a_group_is_what_the_first_parentheses_match() -> None:
    ids = ["walk_1_0001", "ride_2_0002", "x"]
    faults: list[str] = []
    assert groups_of(ids[:2], r"^(\w+)_", faults) == {"walk_1_0001": "walk_1", "ride_2_0002": "ride_2"}
    assert groups_of(ids[:2], r"(?:_(\d)_)|(k)", faults) == {"walk_1_0001": "walk_1_0001", "ride_2_0002": "2"}
    assert groups_of(ids[:2], r"_(\d)_", []) == {"walk_1_0001": "1", "ride_2_0002": "2"}
    assert groups_of(ids, None, []) == {name: name for name in ids} and groups_of([], "(x)", []) == {}
    assert groups_of(ids, r"^(\w+)_", faults)["x"] == "x"
    assert faults == [
        r"dataset.group=(?:_(\d)_)|(k): names no group for 1 of 2 ids: walk_1_0001; a pattern that matches each id "
        "expected",
        r"dataset.group=^(\w+)_: names no group for 1 of 3 ids: x; a pattern that matches each id expected",
    ]


@pytest.mark.parametrize("pattern", [r"(?=a)(a)", r"(a)\1", "((a{1000}){1000})"])
def test_what_re2_refuses_is_a_fault(pattern: str) -> None:
    faults: list[str] = []
    groups_of(["a_1"], pattern, faults)
    assert len(faults) == 1 and "a regular expression of RE2, without look-around and back-references" in faults[0]


def test_groups_in_two_splits_are_reported() -> None:
    ids = {"train": ["a_1", "b_1"], "val": ["a_2"], "test": ["b_2", "c_1"]}
    assert group_warnings(ids, r"^(\w)_") == [
        "groups with images in both the train and the val split: a; scores are then too high",
        "groups with images in both the train and the test split: b; scores are then too high",
    ]
    assert group_warnings(ids, None) == []
