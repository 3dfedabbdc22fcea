"""Which image goes into which split: by hash, so that images that are added move none that were there."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.data.duplicates import BLOCK, NEAR
from pipeline.runtime.text import enumerated

NAMES = ("train", "val", "test")
SHARES = (0.8, 0.1, 0.1)
LARGEST_SCENE = 0.05  # share of all images that near copies may be to be kept together; more are a fixed camera
SMALLEST_SCENE = 4
FEW = 30  # images of a split: fewer are brought to their share


@dataclass
class Assigned:
    """The split of each image, and what was done to get there."""

    splits: list[str | None]  # None: left out
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def by_hash(
    ids: Sequence[str],
    names: Sequence[str],
    present: np.ndarray,
    units: np.ndarray,
    shares: tuple[float, float, float],
    earlier: Mapping[str, str],
) -> Assigned:
    """Assign images that belong together, units, to splits.

    A unit's place is the SHA-256 of its first name as a share of 1, so it does not depend on other units. A split of
    fewer than `FEW` images is then brought to its share, which it would have on average only. Then, from the rarest
    class on, a split that lacks a class gets a unit with it, if another split can spare one: the unit with the smallest
    hash. These two steps depend on all images, as every rule does that gives three images to three splits: of any four
    images two are in one split, and alone with one of the others they would not be. Images that an earlier call
    assigned stay.

    Args:
        names: the group of each image, or its id if it has none.
        present: (images, classes) bool, which classes each image shows.
        units: (images,) int, the number of the unit of each image.
        shares: of train, val and test.
        earlier: id -> split of an earlier call.
    """
    count = int(units.max()) + 1
    first: dict[int, int] = {}
    fixed: dict[int, int] = {}
    for place, unit in sorted(enumerate(units.tolist()), key=lambda pair: (names[pair[0]], ids[pair[0]])):
        first.setdefault(unit, place)
        if (name := earlier.get(ids[place])) in NAMES:
            fixed.setdefault(unit, NAMES.index(name))
    hashes = np.array([_share(names[first[unit]]) for unit in range(count)])
    of_unit = np.minimum(np.searchsorted(np.cumsum(shares) - 1e-12, hashes, side="right"), 2)
    for split in (2, 1):  # the sum of shares may be a little below 1
        of_unit[(of_unit == split) & (shares[split] == 0)] = split - 1
    for unit, split in fixed.items():
        of_unit[unit] = split
    free = np.ones(count, bool)
    free[list(fixed)] = False
    _fill(of_unit, np.bincount(units), hashes, shares, free)
    shown = np.zeros((count, present.shape[1] + 1), bool)
    shown[:, -1] = True  # every split needs images at all
    np.logical_or.at(shown[:, :-1], units, present)
    moved = _spread(of_unit, shown, hashes, [split for split in range(3) if shares[split] > 0], free)
    notes = []
    if moved:
        examples = [ids[first[unit]] for unit in moved]
        notes.append(f"moved so that rare classes are in every split: {enumerated(examples)}")
    return Assigned([NAMES[split] for split in of_unit[units].tolist()], notes)


def _share(name: str) -> float:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()[:7], "big") / 2**56


def _fill(
    of_unit: np.ndarray, sizes: np.ndarray, hashes: np.ndarray, shares: tuple[float, float, float], free: np.ndarray
) -> None:
    """Bring small splits to their share, by units of train with the smallest hash, or to it with the greatest.

    Args:
        of_unit: (units,) int, changed in place.
        sizes: (units,) int, images of each.
        free: (units,) bool, which units may move.
    """
    for split in (1, 2):
        wanted = round(shares[split] * sizes.sum())
        if shares[split] == 0 or wanted >= FEW:
            continue
        wanted = max(1, wanted)
        for unit in np.argsort(hashes, kind="stable").tolist():
            fits = sizes[of_unit == split].sum() + sizes[unit] <= wanted
            if of_unit[unit] == 0 and free[unit] and fits and sizes[of_unit == 0].sum() > sizes[unit]:
                of_unit[unit] = split
        for unit in np.argsort(-hashes, kind="stable").tolist():
            if of_unit[unit] == split and free[unit] and sizes[of_unit == split].sum() - sizes[unit] >= wanted:
                of_unit[unit] = 0


def _spread(
    of_unit: np.ndarray, shown: np.ndarray, hashes: np.ndarray, wanted: Sequence[int], free: np.ndarray
) -> list[int]:
    """Move units until every split that is wanted has every class, where that can be; returns those moved.

    Args:
        of_unit: (units,) int, changed in place.
        shown: (units, classes) bool.
    """
    moved = []
    totals = np.array([shown[of_unit == split].sum(axis=0) for split in range(3)])  # (3, classes)
    for label in np.argsort(shown.sum(axis=0), kind="stable").tolist():
        for split in wanted:
            if totals[split, label] > 0:
                continue
            owners = np.flatnonzero(shown[:, label] & free)
            # A split gives away what it has more than once; the only one of a class goes to train.
            spare = [
                unit
                for unit in owners[np.argsort(hashes[owners], kind="stable")].tolist()
                if (totals[of_unit[unit]][shown[unit]] > 1).all() or (split == 0 and shown[:, label].sum() == 1)
            ]
            if spare:
                unit = spare[0]
                totals[of_unit[unit]] -= shown[unit]
                of_unit[unit] = split
                totals[split] += shown[unit]
                moved.append(unit)
    return moved


def together(groups: Sequence[str | None], *links: np.ndarray) -> np.ndarray:
    """Number the units of images that belong together: of one group, or linked, (images,) int.

    Args:
        groups: the group of each image; None: one of its own.
        links: (n, 2) int each, pairs of images.
    """
    count = len(groups)
    first: dict[str, int] = {}
    same = [(first.setdefault(group, place), place) for place, group in enumerate(groups) if group is not None]
    pairs = np.concatenate([np.array(same, np.int64).reshape(-1, 2), *(link.reshape(-1, 2) for link in links)])
    return np.unique(linked(count, pairs), return_inverse=True)[1]


def linked(count: int, pairs: np.ndarray) -> np.ndarray:
    """The smallest index that each of `count` things is linked to, over any number of pairs, (count,) int64.

    Args:
        pairs: (n, 2) int64.
    """
    least = np.arange(count)
    while True:
        before = least.copy()
        smaller = np.minimum(least[pairs[:, 0]], least[pairs[:, 1]])
        for end in (0, 1):
            np.minimum.at(least, before[pairs[:, end]], smaller)
            np.minimum.at(least, pairs[:, end], smaller)
        least = least[least]
        if (least == before).all():
            return least


def equal_pairs(hashes: Sequence[str]) -> np.ndarray:
    """Each image whose hash an earlier one has, with the first such, (n, 2) int64."""
    first: dict[str, int] = {}
    pairs = [(first.setdefault(value, place), place) for place, value in enumerate(hashes)]
    return np.array([pair for pair in pairs if pair[0] != pair[1]], np.int64).reshape(-1, 2)


def alike_pairs(appearances: Sequence[np.ndarray | None]) -> np.ndarray:
    """Images that look alike, (n, 2) int64: each in a scene with the first of it. See `pipeline.data.duplicates`."""
    known = np.array([place for place, found in enumerate(appearances) if found is not None], np.int64)
    if not len(known):
        return np.zeros((0, 2), np.int64)
    steps = np.array([found for found in appearances if found is not None], np.int8)

    def unit(start: int) -> np.ndarray:
        block = steps[start : start + BLOCK].astype(np.float32)
        return np.asarray(block / np.linalg.norm(block, axis=1, keepdims=True))

    scene = np.arange(len(known))  # the first image of each one's scene
    for start in range(0, len(known), BLOCK):
        rows = unit(start)
        for column in range(0, start + 1, BLOCK):
            one, other = np.nonzero(rows @ unit(column).T >= NEAR)
            ends = np.stack([one + start, other + column], axis=1)
            ends = ends[ends[:, 0] != ends[:, 1]]
            if len(ends):
                known_links = np.stack([np.arange(len(known)), scene], axis=1)
                scene = linked(len(known), np.concatenate([ends, known_links]))
    alike = np.flatnonzero(scene != np.arange(len(known)))
    return np.stack([known[scene[alike]], known[alike]], axis=1)


def small_scenes(pairs: np.ndarray, count: int) -> tuple[np.ndarray, int]:
    """The pairs of scenes that are small enough to be kept together, and the images of the largest other scene."""
    firsts, sizes = np.unique(pairs[:, 0], return_counts=True)
    most = max(SMALLEST_SCENE, LARGEST_SCENE * count)
    kept = firsts[sizes + 1 <= most]
    larger = sizes[sizes + 1 > most]
    return pairs[np.isin(pairs[:, 0], kept)], int(larger.max()) + 1 if len(larger) else 0


def are_splits(own: Collection[str | None]) -> bool:
    """Whether these splits of a source can be used: there has to be train, and another one."""
    names = set(own) - {None}
    return "train" in names and len(names) > 1


def own_splits(
    ids: Sequence[str], splits: Sequence[str | None], copies: np.ndarray, alike: np.ndarray, valid: np.ndarray
) -> Assigned:
    """The tool's own splits, without images of train and val that are copies of others in val and test.

    A split whose masks are void throughout, as Cityscapes' test masks are, is left out.

    Args:
        copies, alike: (n, 2) int64, pairs of images with the same bytes, and of images that look alike.
        valid: whether each mask has a valid pixel, (images,) bool.
    """
    found = Assigned(list(splits))
    units = together([None] * len(ids), copies)
    left_out = []
    by_unit: dict[int, list[int]] = {}
    for place in np.unique(copies).tolist():
        by_unit.setdefault(int(units[place]), []).append(place)
    for places in by_unit.values():
        order = {place: NAMES.index(name) for place in places if (name := splits[place]) is not None}
        for place, number in order.items():
            if number < max(order.values()):
                found.splits[place] = None
                left_out.append(f"{ids[place]} ({splits[place]})")
    if left_out:
        found.warnings.append(
            f"{len(left_out)} images have the same bytes as images of a later split, and are left out of theirs: "
            f"{enumerated(left_out)}"
        )
    for name in ("val", "test"):
        places = [place for place, split in enumerate(found.splits) if split == name]
        if places and not any(valid[place] for place in places):
            found.warnings.append(f"all masks of {name} are void throughout: the split is left out")
            for place in places:
                found.splits[place] = None
    pairs = [(one, other) for one, other in alike.tolist() if found.splits[one] and found.splits[other]]
    near = [
        f"{ids[other]} ({found.splits[other]}) and {ids[one]} ({found.splits[one]})"
        for one, other in pairs
        if found.splits[one] != found.splits[other]
    ]
    if near:
        found.warnings.append(
            f"images that look alike are in two splits, so scores will be too high: {enumerated(near)}"
        )
    if unlisted := [name for name, split in zip(ids, splits, strict=True) if split is None]:
        found.warnings.append(f"{len(unlisted)} images are in no split of the source: {enumerated(unlisted, 3)}")
    return found
