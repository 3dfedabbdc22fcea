"""Splits by hash: added images move none, rare classes are everywhere, and what belongs together stays together."""

import numpy as np

from pipeline.convert.splits import alike_pairs, by_hash, equal_pairs, linked, own_splits, small_scenes, together

SHARES = (0.8, 0.1, 0.1)


def split(
    ids: list[str], present: np.ndarray | None = None, units: np.ndarray | None = None, earlier=None, groups=None
):  # type: ignore[no-untyped-def]
    present = np.ones((len(ids), 1), bool) if present is None else present
    units = np.arange(len(ids)) if units is None else units
    return by_hash(ids, groups or ids, present, units, SHARES, earlier or {})


def names(count: int) -> list[str]:
    return [f"image_{number}" for number in range(count)]


def test_images_that_are_added_move_none() -> None:
    before = dict(zip(names(300), split(names(300)).splits, strict=True))
    every = [f"more_{number}" for number in range(100)] + names(300)
    after = dict(zip(every, split(every).splits, strict=True))
    assert {name: after[name] for name in before} == before
    counts = [list(after.values()).count(name) for name in ("train", "val", "test")]
    assert np.allclose(np.array(counts) / 400, SHARES, atol=0.05)


def test_an_image_that_is_added_to_a_group_moves_none() -> None:
    before = names(300)
    ids, groups = before + [f"added_{number}" for number in range(300)], [f"g{number % 150}" for number in range(600)]
    found = [
        split(ids[:count], units=np.arange(count) % 150, groups=groups[:count]).splits[:300] for count in (300, 600)
    ]
    assert found[0] == found[1] and set(found[0]) == {"train", "val", "test"}


def test_rare_classes_are_in_every_split_where_they_can_be() -> None:
    ids = names(100)
    present = np.zeros((100, 4), bool)
    present[:, 0] = True
    present[:3, 1] = present[50:52, 2] = present[90, 3] = True
    found = split(ids, present)
    where = [{found.splits[place] for place in np.flatnonzero(present[:, label])} for label in range(4)]
    assert where == [{"train", "val", "test"}, {"train", "val", "test"}, {"train", "val"}, {"train"}]
    assert found.notes[0].startswith("moved so that rare classes are in every split: image_")
    assert found.splits == split(ids, present).splits


def test_few_images_give_every_split_one() -> None:
    for count, expected in ((3, [1, 1, 1]), (5, [3, 1, 1]), (60, [48, 6, 6])):
        found = split(names(count)).splits
        assert [found.count(name) for name in ("train", "val", "test")] == expected
    assert split(names(1)).splits == ["train"]


def test_what_an_earlier_call_assigned_stays() -> None:
    ids = names(50)
    earlier = dict.fromkeys(ids[:40], "test") | {ids[40]: "val"}
    found = split(ids, earlier=earlier)
    assert found.splits[:41] == ["test"] * 40 + ["val"]


def test_groups_and_copies_stay_together() -> None:
    groups = ["a", "a", None, "b", "b", None]
    units = together(groups, np.array([[2, 5]]))
    assert units[0] == units[1] and units[2] == units[5] and units[3] == units[4] and len(set(units)) == 3
    found = split(names(6), units=units).splits
    assert found[0] == found[1] and found[2] == found[5] and found[3] == found[4]
    assert equal_pairs(["x", "y", "x", "x"]).tolist() == [[0, 2], [0, 3]]


def test_links_are_followed_over_any_number_of_steps() -> None:
    order = np.random.default_rng(0).permutation(1000)
    chain = np.stack([order[:-1], order[1:]], axis=1)
    assert (linked(1001, chain)[:1000] == 0).all() and linked(1001, chain)[1000] == 1000


def test_scenes_of_near_copies_are_found() -> None:
    rng = np.random.default_rng(1)
    first, second = (rng.integers(-60, 60, 256).astype(np.int8) for _ in range(2))
    near = (first + rng.integers(-5, 6, 256)).astype(np.int8)
    pairs = alike_pairs([first, None, second, near, second])
    assert pairs.tolist() == [[0, 3], [2, 4]]
    kept, largest = small_scenes(np.array([[0, place] for place in range(1, 9)] + [[20, 21]]), 100)
    assert kept.tolist() == [[20, 21]] and largest == 9


def test_copies_in_the_tools_own_splits_leave_the_earlier_one() -> None:
    ids, splits = names(5), ["train", "train", "val", "test", None]
    found = own_splits(ids, splits, np.array([[0, 2], [2, 3]]), np.array([[1, 3]]), np.array([True] * 5))
    assert found.splits == [None, "train", None, "test", None]
    assert "2 images have the same bytes as images of a later split" in found.warnings[0]
    assert "image_3 (test) and image_1 (train)" in found.warnings[1]
    void = own_splits(ids, splits, np.zeros((0, 2), int), np.zeros((0, 2), int), np.array([True] * 3 + [False, True]))
    assert void.splits[3] is None and "all masks of test are void" in void.warnings[0]
