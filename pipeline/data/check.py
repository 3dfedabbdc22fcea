"""Checks every listed pair before training: can it be decoded, do the sizes agree, are all labels those of classes?

What is measured on the way (sizes, pixels of each class) is needed later. It is stored under the digest of the files'
bytes, so that an unchanged dataset is hashed but not decoded again.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.data.image_check import (
    check_image,
    mask_orientation_fault,
    orientation_fault,
    range_fault,
    size_fault,
    ways_out,
)
from pipeline.data.image_files import UNDECODABLE, read_index_mask, undecodable
from pipeline.data.layout import IMAGES, MASKS
from pipeline.data.palette import VOID
from pipeline.data.pixels import PixelRules
from pipeline.data.voc import Example, Splits, shortened
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import write_atomic
from pipeline.runtime.limits import processors
from pipeline.runtime.progress import Progress, silent

T = TypeVar("T")
Contents = dict[str, list[list[str | None]]]  # split -> (id, image hash, mask hash) of each example
RULES = 4  # raised with every change of what is checked, so that results of earlier rules are not used
AS_DEFAULT = PixelRules()


@dataclass(frozen=True)
class SplitStatistics:
    """What was measured on a split, in the order of its examples."""

    sizes: np.ndarray  # (examples, 2) int64: height, width in pixels of the masks, and of the images once turned
    orientations: np.ndarray  # (examples,) int64: the EXIF orientation by which each image is turned; 1: not at all
    class_pixels: np.ndarray  # (examples, classes) int64: pixels of each class; void is not counted


@dataclass(frozen=True)
class CheckedDataset:
    """The result of checking a dataset without faults."""

    digest: str  # SHA-256 over the ordered (id, image hash, mask hash) of each split and the class names
    split_digests: dict[str, str]  # the same over one split each
    contents: Contents  # what the digests are over
    statistics: dict[str, SplitStatistics]  # by split


def check_dataset(
    splits: Splits,
    classes: list[str],
    results: Path,
    progress: Progress = silent,
    faults: Sequence[str] = (),
    rules: PixelRules = AS_DEFAULT,
) -> CheckedDataset:
    """Hash every pair of every split and, unless these bytes were checked before, decode it.

    Args:
        results: folder for the results of checks, by digest.
        faults: faults of the lists that are known already; reported together with those found here.
        rules: how image files are read.

    Raises:
        UserError: with the first 20 faults and the count of the others; or `results` cannot be written.
    """
    examples = [example for split in splits.values() for example in split]
    contents = _contents(splits, _for_each(_hashes, examples, "hashing images", progress))
    digest = _digest(contents, classes)
    stored = results / f"{digest}-{RULES}-{rules.name}.json"
    table = _read_table(stored, len(examples), len(classes))
    if table is None or faults:
        table = _check_pairs(examples, len(classes), progress, faults, rules)
        _write_table(stored, table)
    return CheckedDataset(
        digest,
        {split: _digest({split: rows}, classes) for split, rows in contents.items()},
        contents,
        _statistics(splits, table),
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
    pixels = np.bincount(labels.ravel(), minlength=256)
    outside = [index for index in np.flatnonzero(pixels) if index >= classes and index != VOID]
    if outside:
        faults.append(
            f"{mask}: holds label {', '.join(map(str, outside[:5]))}; "
            f"0 to {classes - 1} ({classes} dataset.classes) or {VOID} for void expected"
        )
    orientation = 1 if found is None else rules.turn(found.orientation)
    return faults, [height, width, orientation, *map(int, pixels[:classes])]


def _check_pairs(
    examples: list[Example], classes: int, progress: Progress, faults: Sequence[str], rules: PixelRules
) -> np.ndarray:
    """(examples, 3 + classes) int64: the row of `check_pair` for each; raises UserError with all faults."""
    found = _for_each(lambda example: check_pair(example, classes, rules), examples, "checking images", progress)
    every = [*faults, *(fault for pair_faults, _ in found for fault in pair_faults)]
    if every:
        raise UserError(*shortened(every), *ways_out(every, rules))
    if fault := range_fault((example.image for example in examples), rules):
        raise UserError(fault)
    return np.array([row for _, row in found], np.int64)


def _statistics(splits: Splits, table: np.ndarray) -> dict[str, SplitStatistics]:
    """Args: table: (examples of all splits, 3 + classes) int64."""
    statistics, start = {}, 0
    for split, examples in splits.items():
        rows = table[start : start + len(examples)]
        statistics[split] = SplitStatistics(sizes=rows[:, :2], orientations=rows[:, 2], class_pixels=rows[:, 3:])
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
    with ThreadPoolExecutor(processors()) as pool:  # hashing and decoding release Python's lock
        for result in pool.map(work, examples):
            results.append(result)
            progress(what, len(results), len(examples))
    return results


def _read_table(path: Path, examples: int, classes: int) -> np.ndarray | None:
    """(examples, 3 + classes) int64; None if the file is missing or damaged."""
    try:
        table = np.array(json.loads(path.read_text()))
    except (OSError, ValueError):
        return None
    return table if table.shape == (examples, 3 + classes) and table.dtype == np.int64 else None


def _write_table(path: Path, table: np.ndarray) -> None:
    try:
        write_atomic(path, json.dumps(table.tolist()))
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be written: {error.strerror}; set another data_dir") from error
