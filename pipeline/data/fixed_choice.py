"""Choices of images that depend on their ids alone: the same in every run, whatever the order of the list.

An image that is added to a dataset changes such a choice by that image at most, or by its group.
"""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence


def smallest_hashes(ids: Iterable[str], count: int) -> list[str]:
    """The `count` ids with the smallest SHA-256, in the order of these hashes; all of them where there are fewer."""
    return sorted(ids, key=_sha256)[:count]


def first_by_hash(ids: Sequence[str], limit: int | None) -> list[str]:
    """The `limit` ids with the smallest SHA-256, in the order of the list; None: all."""
    chosen = set(ids if limit is None else smallest_hashes(ids, limit))
    return [name for name in ids if name in chosen]


def hold_out(
    ids: Sequence[str], fraction: float, groups: Mapping[str, str] | None = None
) -> tuple[list[str], list[str]]:
    """Split the ids of a list into (train, val), both in the order of the list.

    val gets the max(1, round(fraction * n)) ids with the smallest SHA-256; with groups, the groups whose names have the
    smallest one, until it has as many ids or more.

    Args:
        groups: the group of each id, which stays together; None: each id alone.
    """
    groups = groups or {name: name for name in ids}
    members = Counter(groups[name] for name in ids)
    held: set[str] = set()
    missing = max(1, round(fraction * len(ids)))
    for group in smallest_hashes(members, len(members)):
        if missing <= 0:
            break
        held.add(group)
        missing -= members[group]
    return _split(ids, groups, held)


def take_fold(ids: Sequence[str], fold: int, folds: int, groups: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Split the ids of a list into (train, val) for cross-validation, both in the order of the list: val is one fold.

    The groups lie in a row in the order of the SHA-256 of "fold " and their name, each as long as it has ids. The row
    is cut into folds of equal length, and a group is in the fold that its middle is in, unless a fold would be empty.
    Without groups, the numbers of ids in the folds differ by one at most. (In the order of the ids' own hashes,
    `first_by_hash` would leave the same images of most folds.)

    Args:
        fold: from 0.
        groups: the group of each id, which stays together; at least as many as folds.
    """
    members = Counter(groups[name] for name in ids)
    held: set[str] = set()
    place, before = -1, 0  # the fold of the last group, and the ids of the groups so far
    for number, group in enumerate(sorted(members, key=lambda name: _sha256(f"fold {name}"))):
        middle = folds * (2 * before + members[group]) // (2 * len(ids))
        # No fold is left out, and one group is left for each that follows.
        place = min(place + 1, max(place, middle, folds - (len(members) - number)))
        before += members[group]
        if place == fold:
            held.add(group)
    return _split(ids, groups, held)


def _split(ids: Sequence[str], groups: Mapping[str, str], held: Collection[str]) -> tuple[list[str], list[str]]:
    return [name for name in ids if groups[name] not in held], [name for name in ids if groups[name] in held]


def _sha256(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()  # a name of a file need not be valid text
