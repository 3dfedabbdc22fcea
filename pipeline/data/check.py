"""Checks every listed pair before training: can it be decoded, do the sizes agree, are all labels those of classes?

What is measured on the way (sizes, pixels of each class, what images look like) is needed later. It is stored under the
digest of the files' bytes, so that an unchanged dataset is hashed but not decoded again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.data.check_results import CheckResults, read_results, write_results
from pipeline.data.decode import decode_file
from pipeline.data.duplicates import (
    appearance,
    copy_faults,
    equal_hashes,
    near_copies,
    near_copy_warning,
    same_mask_warning,
)
from pipeline.data.image_files import UNDECODABLE, open_whole, read_index_mask, undecodable
from pipeline.data.mask_colours import Colour, colour_warning, disagreements, mask_colours
from pipeline.data.palette import VOID
from pipeline.data.split_checks import SplitStatistics
from pipeline.data.voc import IMAGES, MASKS, Example, Splits, shortened
from pipeline.runtime.errors import UserError
from pipeline.runtime.progress import Progress, silent

T = TypeVar("T")
Contents = dict[str, list[list[str | None]]]  # split -> (id, image hash, mask hash) of each example
RULES = 4  # raised with every change of what is checked, so that results of earlier rules are not used


@dataclass(frozen=True)
class CheckedDataset:
    """The result of checking a dataset without faults."""

    digest: str  # SHA-256 over the ordered (id, image hash, mask hash) of each split and the class names
    split_digests: dict[str, str]  # the same over one split each
    contents: Contents  # what the digests are over
    statistics: dict[str, SplitStatistics]  # by split
    warnings: list[str]  # what is odd about files taken together, though none of them has a fault


def check_dataset(
    splits: Splits, classes: list[str], results: Path, progress: Progress = silent, faults: Sequence[str] = ()
) -> CheckedDataset:
    """Hash every pair of every split and, unless these bytes were checked before, decode it.

    Args:
        results: folder for the results of checks, by digest.
        faults: faults of the lists that are known already; reported together with those found here.

    Raises:
        UserError: with the first 20 faults and the count of the others; or `results` cannot be written.
    """
    examples = [example for split in splits.values() for example in split]
    contents = _contents(splits, _for_each(_hashes, examples, "hashing images", progress))
    digest = _digest(contents, classes)
    faults = [*faults, *_copies(splits, contents)]
    stored = results / f"{digest}-{RULES}.json"
    found = read_results(stored, len(examples), len(classes))
    if found is None or faults:
        found = _check_pairs(splits, len(classes), progress, faults)
        write_results(stored, found)
    return CheckedDataset(
        digest,
        {split: _digest({split: rows}, classes) for split, rows in contents.items()},
        contents,
        _statistics(splits, found.pairs),
        _warnings(splits, contents, classes, found),
    )


def check_pair(example: Example, classes: int) -> tuple[list[str], list[int]]:
    """Check one image and its mask.

    Returns:
        The faults, and (height, width, pixels of class 0, 1, …), which is empty if the mask cannot be read.
    """
    image, mask = f"{IMAGES}/{example.id}{example.image.suffix}", f"{MASKS}/{example.id}{example.mask.suffix}"
    faults = []
    size = None
    try:
        with open_whole(example.image) as opened:
            size = opened.size
        decode_file(example.image)  # Pillow reads some damaged files that would stop the training
    except UNDECODABLE as error:
        faults.append(f"{image}: {undecodable(error)}")
    try:
        labels = read_index_mask(example.mask)  # (height, width)
    except UNDECODABLE as error:
        return [*faults, f"{mask}: {undecodable(error)}"], []
    height, width = labels.shape
    if size is not None and size != (width, height):
        faults.append(f"{mask}: is {width}x{height}, but its image {image} is {size[0]}x{size[1]}")
    pixels = np.bincount(labels.ravel(), minlength=256)
    outside = [index for index in np.flatnonzero(pixels) if index >= classes and index != VOID]
    if outside:
        faults.append(
            f"{mask}: holds label {', '.join(map(str, outside[:5]))}; "
            f"0 to {classes - 1} ({classes} dataset.classes) or {VOID} for void expected"
        )
    return faults, [height, width, *map(int, pixels[:classes])]


@dataclass(frozen=True)
class _Measured:
    """What was found in one pair; what it looks like only if it has no faults."""

    faults: list[str]
    row: list[int]
    appearance: np.ndarray | None = None
    colours: dict[int, Colour] = field(default_factory=dict)


def _measure(example: Example, classes: int) -> _Measured:
    faults, row = check_pair(example, classes)
    if faults:
        return _Measured(faults, row)
    labels = [label for label, pixels in enumerate(row[2:]) if pixels]
    return _Measured([], row, appearance(example.image), mask_colours(example.mask, labels))


def _check_pairs(splits: Splits, classes: int, progress: Progress, faults: Sequence[str]) -> CheckResults:
    """Check and compare all pairs; raises UserError with all faults."""
    examples = [example for split in splits.values() for example in split]
    found = _for_each(lambda example: _measure(example, classes), examples, "checking images", progress)
    every = [*faults, *(fault for pair in found for fault in pair.faults)]
    if every:
        raise UserError(*shortened(every))
    pairs = near_copies([pair.appearance for pair in found], [len(split) for split in splits.values()])
    return CheckResults(
        pairs=np.array([pair.row for pair in found], np.int64),
        near_copies=np.array(pairs, np.int64).reshape(-1, 2),
        colours=disagreements([pair.colours for pair in found]),
    )


def _copies(splits: Splits, contents: Contents) -> list[str]:
    """A fault for each image that has the bytes of an image of another split."""
    examples, names, counts = _flat(splits)
    return copy_faults(examples, names, equal_hashes([row[1] for rows in contents.values() for row in rows], counts))


def _warnings(splits: Splits, contents: Contents, classes: list[str], found: CheckResults) -> list[str]:
    examples, names, counts = _flat(splits)
    rows = [row for split_rows in contents.values() for row in split_rows]
    masks = [pair for pair in equal_hashes([row[2] for row in rows], counts) if rows[pair[0]][1] != rows[pair[1]][1]]
    warnings = (
        near_copy_warning(examples, names, found.near_copies.tolist()),
        same_mask_warning(examples, names, masks, found.pairs[:, 2:]),
        colour_warning(found.colours, examples, classes),
    )
    return [warning for warning in warnings if warning is not None]


def _flat(splits: Splits) -> tuple[list[Example], list[str], list[int]]:
    """All examples, split after split, the split of each, and the number of each split's."""
    pairs = [(example, split) for split, examples in splits.items() for example in examples]
    return [one for one, _ in pairs], [split for _, split in pairs], [len(examples) for examples in splits.values()]


def _statistics(splits: Splits, table: np.ndarray) -> dict[str, SplitStatistics]:
    """Args: table: (examples of all splits, 2 + classes) int64."""
    statistics, start = {}, 0
    for split, examples in splits.items():
        rows = table[start : start + len(examples)]
        statistics[split] = SplitStatistics(sizes=rows[:, :2], class_pixels=rows[:, 2:])
        start += len(examples)
    return statistics


def _hashes(example: Example) -> tuple[str | None, str | None]:
    """SHA-256 of the image's and the mask's bytes; None for a file that cannot be read, which `check_pair` reports."""

    def sha256(path: Path) -> str | None:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None

    return sha256(example.image), sha256(example.mask)


def _contents(splits: Splits, hashes: Iterable[tuple[str | None, str | None]]) -> Contents:
    pairs = iter(hashes)
    return {split: [[example.id, *next(pairs)] for example in examples] for split, examples in splits.items()}


def _digest(contents: Contents, classes: list[str]) -> str:
    return hashlib.sha256(json.dumps({"classes": classes, "splits": contents}).encode()).hexdigest()


def _for_each(work: Callable[[Example], T], examples: list[Example], what: str, progress: Progress) -> list[T]:
    """The results of `work` in the order of the examples, worked on in parallel."""
    results = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing and decoding release Python's lock
        for result in pool.map(work, examples):
            results.append(result)
            progress(what, len(results), len(examples))
    return results
