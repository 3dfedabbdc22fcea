"""Checks every listed pair before training: can it be decoded, do the sizes agree, are all labels those of classes?

What is measured on the way (sizes, pixels of each class, what images look like) is needed later. It is stored under the
digest of the files' bytes, so that an unchanged dataset is hashed but not decoded again.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.data.check_results import CheckResults, read_results, write_results
from pipeline.data.duplicates import (
    appearance,
    copy_faults,
    equal_hashes,
    near_copies,
    near_copy_warning,
    same_mask_warning,
)
from pipeline.data.image_check import (
    check_image,
    label_fault,
    mask_orientation_fault,
    orientation_fault,
    range_fault,
    size_fault,
    ways_out,
)
from pipeline.data.image_files import UNDECODABLE, read_index_mask, undecodable
from pipeline.data.layout import IMAGES, MASKS
from pipeline.data.mask_colours import Colour, colour_warning, disagreements, mask_colours
from pipeline.data.pixels import PixelRules
from pipeline.data.split_checks import SplitStatistics
from pipeline.data.voc import Example, Splits, shortened
from pipeline.runtime.errors import UserError
from pipeline.runtime.limits import processors
from pipeline.runtime.progress import Progress, silent

T = TypeVar("T")
Contents = dict[str, list[list[str | None]]]  # split -> (id, image hash, mask hash) of each example
RULES = 4  # raised with every change of what is checked, so that results of earlier rules are not used
AS_DEFAULT = PixelRules()


@dataclass(frozen=True)
class CheckedDataset:
    """The result of checking a dataset without faults."""

    digest: str  # SHA-256 over the ordered (id, image hash, mask hash) of each split and the class names
    split_digests: dict[str, str]  # the same over one split each
    contents: Contents  # what the digests are over
    statistics: dict[str, SplitStatistics]  # by split
    warnings: list[str]  # what is odd about files taken together, though none of them has a fault


def check_dataset(
    splits: Splits,
    classes: list[str],
    results: Path,
    progress: Progress = silent,
    faults: Sequence[str] = (),
    rules: PixelRules = AS_DEFAULT,
    advise: Callable[[Sequence[str]], list[str]] = lambda faults: [],
) -> CheckedDataset:
    """Hash every pair of every split and, unless these bytes were checked before, decode it.

    Args:
        results: folder for the results of checks, by digest.
        faults: faults of the lists that are known already; reported together with those found here.
        rules: how image files are read.
        advise: lines about what to do, given all faults.

    Raises:
        UserError: with the first 20 faults and the count of the others; or `results` cannot be written.
    """
    examples = [example for split in splits.values() for example in split]
    contents = _contents(splits, _for_each(file_hashes, examples, "hashing images", progress))
    digest = _digest(contents, classes)
    faults = [*faults, *_copies(splits, contents)]
    stored = results / f"{digest}-{RULES}-{rules.name}.json"
    found = read_results(stored, len(examples), len(classes))
    if found is None or faults:
        found = _check_pairs(splits, len(classes), progress, faults, rules, advise)
        write_results(stored, found)
    return CheckedDataset(
        digest,
        {split: _digest({split: rows}, classes) for split, rows in contents.items()},
        contents,
        _statistics(splits, found.pairs),
        _warnings(splits, contents, classes, found),
    )


def check_pair(example: Example, classes: int, rules: PixelRules = AS_DEFAULT) -> tuple[list[str], list[int]]:
    """Check one image and its mask.

    Returns:
        The faults, and (height, width, orientation by which the image is turned, pixels of class 0, 1, …), which is
        empty if the mask cannot be read.
    """
    image, mask = f"{IMAGES}/{example.id}{example.image.suffix}", f"{MASKS}/{example.id}{example.mask.suffix}"
    faults, found = check_image(example.image, image, rules)
    try:
        labels = read_index_mask(example.mask)  # (height, width)
        turned = mask_orientation_fault(example.mask, mask, rules)
    except UNDECODABLE as error:
        oriented = None if found is None else orientation_fault(image, found, rules)
        return [*faults, *([oriented] if oriented else []), f"{mask}: {undecodable(error)}"], []
    height, width = labels.shape
    if found is not None:
        fault = orientation_fault(image, found, rules, (width, height)) or size_fault(
            image, mask, found, rules, (width, height)
        )
        faults += [fault] if fault else []
    faults += [turned] if turned else []
    if fault := label_fault(mask, labels, classes):
        faults.append(fault)
    orientation = 1 if found is None else rules.turn(found.orientation)
    pixels = np.bincount(labels.ravel(), minlength=256)[:classes]
    return faults, [height, width, orientation, *map(int, pixels)]


@dataclass(frozen=True)
class _Measured:
    """What was found in one pair; what it looks like only if it has no faults."""

    faults: list[str]
    row: list[int]
    appearance: np.ndarray | None = None
    colours: dict[int, Colour] = field(default_factory=dict)


def _measure(example: Example, classes: int, rules: PixelRules) -> _Measured:
    faults, row = check_pair(example, classes, rules)
    if faults:
        return _Measured(faults, row)
    labels = [label for label, pixels in enumerate(row[3:]) if pixels]
    return _Measured([], row, appearance(example.image), mask_colours(example.mask, labels))


def _check_pairs(
    splits: Splits,
    classes: int,
    progress: Progress,
    faults: Sequence[str],
    rules: PixelRules,
    advise: Callable[[Sequence[str]], list[str]],
) -> CheckResults:
    """Check and compare all pairs; raises UserError with all faults."""
    examples = [example for split in splits.values() for example in split]
    found = _for_each(lambda example: _measure(example, classes, rules), examples, "checking images", progress)
    every = [*faults, *(fault for pair in found for fault in pair.faults)]
    if every:
        raise UserError(*shortened(every), *ways_out(every, rules), *advise(every))
    if fault := range_fault((example.image for example in examples), rules):
        raise UserError(fault)
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
    near = {tuple(pair) for pair in found.near_copies.tolist()}  # their masks need no warning of their own
    masks = [pair for pair in equal_hashes([row[2] for row in rows], counts) if pair not in near]
    masks = [(one, other) for one, other in masks if rows[one][1] != rows[other][1]]
    warnings = (
        near_copy_warning(examples, names, found.near_copies.tolist()),
        same_mask_warning(examples, names, masks, found.pairs[:, 3:]),
        colour_warning(found.colours, examples, classes),
    )
    return [warning for warning in warnings if warning is not None]


def _flat(splits: Splits) -> tuple[list[Example], list[str], list[int]]:
    """All examples, split after split, the split of each, and the number of each split's."""
    pairs = [(example, split) for split, examples in splits.items() for example in examples]
    return [one for one, _ in pairs], [split for _, split in pairs], [len(examples) for examples in splits.values()]


def _statistics(splits: Splits, table: np.ndarray) -> dict[str, SplitStatistics]:
    """Args: table: (examples of all splits, 3 + classes) int64."""
    statistics, start = {}, 0
    for split, examples in splits.items():
        rows = table[start : start + len(examples)]
        statistics[split] = SplitStatistics(sizes=rows[:, :2], orientations=rows[:, 2], class_pixels=rows[:, 3:])
        start += len(examples)
    return statistics


def file_hashes(example: Example) -> tuple[str | None, str | None]:
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
    with ThreadPoolExecutor(processors()) as pool:  # hashing and decoding release Python's lock
        for result in pool.map(work, examples):
            results.append(result)
            progress(what, len(results), len(examples))
    return results
