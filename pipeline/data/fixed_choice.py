"""Choices of images that depend on their ids alone: the same in every run, whatever the order of the list.

An image that is added to a dataset changes such a choice by that image at most.
"""

import hashlib
from collections.abc import Iterable, Sequence


def smallest_hashes(ids: Iterable[str], count: int) -> list[str]:
    """The `count` ids with the smallest SHA-256, in the order of these hashes; all of them where there are fewer."""
    return sorted(ids, key=_sha256)[:count]


def hold_out(ids: Sequence[str], fraction: float) -> tuple[list[str], list[str]]:
    """Split the ids of a list into (train, val), both in the order of the list.

    val gets the max(1, round(fraction * n)) ids with the smallest SHA-256.
    """
    count = max(1, round(fraction * len(ids))) if ids else 0
    held = set(smallest_hashes(ids, count))
    return [name for name in ids if name not in held], [name for name in ids if name in held]


def _sha256(name: str) -> bytes:
    return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()  # a name of a file need not be valid text
