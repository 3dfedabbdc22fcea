"""Choices by the hashes of ids, such as the part of train that is held out: the same whatever the order of the list."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.data.fixed_choice import hold_out, smallest_hashes
from tests.data.folders import Folder, dataset, faults_of, ids_of, write_list

NAMES = st.lists(st.text("abcdefgh0123456789_", min_size=1, max_size=8), unique=True, max_size=60)
FRACTIONS = st.floats(0.01, 0.99)


def test_choice_depends_on_the_ids_alone() -> None:
    ids = [f"image {number}" for number in range(20)]
    chosen = smallest_hashes(ids, 5)
    assert len(set(chosen)) == 5 and chosen == smallest_hashes(reversed(ids), 5) == smallest_hashes(ids, 20)[:5]
    assert smallest_hashes(ids, 0) == [] and len(smallest_hashes(ids, 30)) == 20
    assert len(smallest_hashes(["\ud800", "a"], 5)) == 2  # a file name that is not valid text


def test_held_out_ids_are_those_with_the_smallest_hash() -> None:
    """Computed with the tool sha256sum: b 3e23…, c 2e7d…, a ca97…, d 18ac…, e 3f79…"""
    assert hold_out(["a", "b", "c", "d", "e"], 0.4) == (["a", "b", "e"], ["c", "d"])
    assert smallest_hashes(["a", "b", "c", "d", "e"], 3) == ["d", "c", "b"]


@given(NAMES, FRACTIONS)
def test_held_out_part_has_the_stated_size(ids: list[str], fraction: float) -> None:
    train, val = hold_out(ids, fraction)
    assert sorted([*train, *val]) == sorted(ids)
    assert len(val) == (max(1, round(fraction * len(ids))) if ids else 0)
    assert train == [name for name in ids if name in train]
    assert val == [name for name in ids if name in val]


@given(NAMES.flatmap(lambda ids: st.tuples(st.just(ids), st.permutations(ids))), FRACTIONS)
def test_held_out_part_does_not_depend_on_the_order(orders: tuple[list[str], list[str]], fraction: float) -> None:
    one, other = orders
    assert set(hold_out(one, fraction)[1]) == set(hold_out(other, fraction)[1])


@given(NAMES, NAMES, FRACTIONS)
def test_added_ids_change_few_others(ids: list[str], more: list[str], fraction: float) -> None:
    """No more ids leave the held-out part than are added to it, and no more of the others enter than it grows by."""
    added = [name for name in more if name not in ids]
    before, after = set(hold_out(ids, fraction)[1]), set(hold_out(ids + added, fraction)[1])
    growth = len(after) - len(before)
    entered, left = (after - before) & set(ids), before - after
    assert len(entered) <= max(0, growth)
    assert len(left) <= max(0, len(after & set(added)) - growth)
    assert not (entered and left)


def test_only_id_cannot_be_held_out(voc_folder: Folder) -> None:
    assert faults_of(voc_folder(train=1), dataset(val=None)) == [
        "ImageSets/Segmentation/train.txt: all 1 of its ids would be held out for validation; "
        "list more, name a list in dataset.splits.val, or lower dataset.val_fraction=0.1"
    ]


def test_val_null_holds_out_a_part_of_train(voc_folder: Folder) -> None:
    root = voc_folder(train=6, val=0)
    whole = [f"train_{index}" for index in range(6)]
    train, val = hold_out(whole, 0.3)
    assert ids_of(root, dataset(val=None, val_fraction=0.3)) == {
        "train": train,
        "val": val,
        "test": ["test_0", "test_1"],
    }
    assert len(val) == 2


def test_extra_images_join_train_and_are_never_held_out(voc_folder: Folder) -> None:
    root = voc_folder(train=5, val=2, test=2)
    held = ids_of(root, dataset(val=None))["val"]
    # Lists of augmented data often repeat what is in train.
    write_list(root, "more", "val_0\nval_1\n" + "".join(f"train_{n}\n" for n in range(5)))
    found = ids_of(root, dataset(val=None, extra="more"))
    assert found["val"] == held and found["test"] == ["test_0", "test_1"]
    assert found["train"] == [f"train_{n}" for n in range(5) if f"train_{n}" not in held] + ["val_0", "val_1"]


def test_extra_image_of_the_test_split_is_refused(voc_folder: Folder) -> None:
    root = voc_folder(train=5, val=2, test=2)
    write_list(root, "more", "test_1\n")
    assert faults_of(root, dataset(extra="more")) == [
        "id 'test_1' is in the train split (train.txt or more.txt) and in the test split (test.txt): "
        "each image may be in one only"
    ]
    assert (
        "dataset.splits.extra=less: ImageSets/Segmentation/less.txt not found"
        in faults_of(root, dataset(extra="less"))[0]
    )
