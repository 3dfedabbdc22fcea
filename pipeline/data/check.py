"""Every listed pair is looked at before training: can it be decoded, do the sizes agree, are all labels classes?

What is learnt on the way (sizes, pixels of each class) is needed later, and is kept with the digest of the bytes, so
that an unchanged folder is hashed but not decoded again.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from pipeline.data.decode import decode_file
from pipeline.data.image_files import UNDECODABLE, open_whole, read_index_mask, undecodable
from pipeline.data.palette import VOID
from pipeline.data.voc import IMAGES, MASKS, Example, Splits, shortened
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import write_atomic
from pipeline.runtime.progress import Progress, silent

T = TypeVar("T")
Contents = dict[str, list[list[str | None]]]  # split -> (id, image hash, mask hash) of each example
RULES = 3  # counts the changes of what is checked: verdicts of other rules are not trusted


@dataclass(frozen=True)
class SplitFacts:
    """What is known of a split, in the order of its examples."""

    sizes: np.ndarray  # (examples, 2) int64: height, width in pixels
    class_pixels: np.ndarray  # (examples, classes) int64: pixels of each class; void is not counted


@dataclass(frozen=True)
class Checked:
    """A dataset without faults."""

    digest: str  # SHA-256 over the ordered (id, image hash, mask hash) of each split and the class names
    split_digests: dict[str, str]  # the same over one split each
    contents: Contents  # what they are over
    facts: dict[str, SplitFacts]


def check_dataset(
    splits: Splits, classes: list[str], verdicts: Path, progress: Progress = silent, faults: Sequence[str] = ()
) -> Checked:
    """Hash, and where these bytes were never checked before, decode every pair of every split.

    Args:
        verdicts: folder in which the verdict on these bytes is kept.
        faults: what is already known to be wrong with the lists; told together with what is found here.

    Raises:
        UserError: with the first 20 faults and the count of the others.
    """
    examples = [example for split in splits.values() for example in split]
    hashes = _each(_hashes, examples, "hashing images", progress)
    contents = _contents(splits, hashes)
    digest = _digest(contents, classes)
    kept = verdicts / f"{digest}-{RULES}.json"
    table = _read_verdict(kept, len(examples), len(classes))
    if faults or table is None:
        found = _each(lambda example: check_pair(example, len(classes)), examples, "checking images", progress)
        faults = [*faults, *(fault for pair_faults, _ in found for fault in pair_faults)]
        if faults:
            raise UserError(*shortened(faults))
        rows = [row for _, row in found]
        _write_verdict(kept, rows)
        table = np.array(rows, np.int64)
    facts, start = {}, 0
    for split, listed in splits.items():
        part = table[start : start + len(listed)]
        facts[split] = SplitFacts(sizes=part[:, :2], class_pixels=part[:, 2:])
        start += len(listed)
    split_digests = {split: _digest({split: rows}, classes) for split, rows in contents.items()}
    return Checked(digest, split_digests, contents, facts)


def check_pair(example: Example, classes: int) -> tuple[list[str], list[int]]:
    """(faults, [height, width, pixels of class 0, 1, …]) of one image and its mask."""
    image, mask = f"{IMAGES}/{example.id}{example.image.suffix}", f"{MASKS}/{example.id}{example.mask.suffix}"
    faults = []
    size = None
    try:
        with open_whole(example.image) as opened:
            size = opened.size
        decode_file(example.image)  # Pillow reads some damaged files on which training would stop
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


def _hashes(example: Example) -> tuple[str | None, str | None]:
    """SHA-256 of the image's and the mask's bytes; None for a file that cannot be read, as `check_pair` will tell."""

    def sha256(path: Path) -> str | None:
        try:
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except OSError:
            return None

    return sha256(example.image), sha256(example.mask)


def _contents(splits: Splits, hashes: Iterable[tuple[str | None, str | None]]) -> Contents:
    pairs = iter(hashes)
    return {split: [[example.id, *next(pairs)] for example in listed] for split, listed in splits.items()}


def _digest(contents: Contents, classes: list[str]) -> str:
    return hashlib.sha256(json.dumps({"classes": classes, "splits": contents}).encode()).hexdigest()


def _each(work: Callable[[Example], T], examples: list[Example], what: str, progress: Progress) -> list[T]:
    results = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # hashing and decoding release Python's lock
        for result in pool.map(work, examples):
            results.append(result)
            progress(what, len(results), len(examples))
    return results


def _read_verdict(path: Path, examples: int, classes: int) -> np.ndarray | None:
    """The rows of a verdict, (examples, 2 + classes) int64; None where there is none that can be trusted."""
    try:
        table = np.array(json.loads(path.read_text()))
    except (OSError, ValueError):
        return None
    return table if table.shape == (examples, 2 + classes) and table.dtype == np.int64 else None


def _write_verdict(path: Path, rows: list[list[int]]) -> None:
    try:
        write_atomic(path, json.dumps(rows))
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be written: {error.strerror}; set another data_dir") from error
