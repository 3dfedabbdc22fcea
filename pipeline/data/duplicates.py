"""Finds images and masks that are in two splits under two names: the same bytes, or images that look the same.

Such an image is trained on and then scored, so its score says nothing of new images.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.image_files import UNDECODABLE, open_image
from pipeline.data.layout import IMAGES, MASKS
from pipeline.data.voc import Example
from pipeline.runtime.text import enumerated

GRID = 16  # cells of a thumbnail in each direction
MOSTLY_FLAT = GRID * GRID // 10  # fewer steps than this do not tell one image from another
# Cosine of two appearances from which their images are near copies. The highest of the 520,710 pairs among 1,021 images
# of PASCAL VOC is 0.58, of the 217,470 pairs of `shapes` 0.39. Copies of images of both that were compressed to quality
# 30, halved, doubled, made brighter or cut by 1 % at each side have 0.89 to 1; cut by 3 %, 0.59 to 0.8.
NEAR = 0.8
BLOCK = 2048  # images that are compared at a time: bounds the memory whatever the size of the dataset

Pair = tuple[int, int]  # places of two examples of different splits, the earlier split first


def appearance(path: Path) -> np.ndarray | None:
    """What an image looks like, roughly: a difference hash of its grey values, (GRID * GRID,) int8.

    The image is averaged to GRID rows of GRID + 1 cells. Each value is the step from a cell to its right neighbour: in
    units of 1/8 of 2 % of the range of the cells, cut at 16 % of it, and 0 up to 2 %. A difference hash usually has the
    sign of each step alone, by which areas of one colour are a matter of chance.

    Returns:
        None for an image that is smaller than the grid or almost of one colour: it looks like many others.

    Raises:
        OSError, SyntaxError, ValueError: it cannot be decoded.
    """
    with open_image(path) as opened:
        opened.draft("L", (4 * GRID, 4 * GRID))  # of a JPEG, an eighth of the pixels or so is decoded
        return appearance_of(opened)


def appearance_of(image: Image.Image) -> np.ndarray | None:
    """`appearance` of an image that is open already."""
    if min(image.size) < GRID:
        return None
    grey = image if image.mode.startswith(("I", "F")) else image.convert("L")
    cells = np.asarray(grey.convert("F").resize((GRID + 1, GRID), Image.Resampling.BOX))
    steps = np.diff(cells, axis=1) / max(1.0, 0.02 * float(np.ptp(cells)))
    steps[np.abs(steps) <= 1] = 0
    found = np.rint(8 * np.clip(steps, -8, 8)).ravel().astype(np.int8)  # in this order, with no memory but its own
    return found if np.count_nonzero(found) > MOSTLY_FLAT else None


def near_copies(appearances: Sequence[np.ndarray | None], counts: Sequence[int]) -> list[Pair]:
    """Each image that looks like one of an earlier split, with the one there that it resembles most.

    Args:
        appearances: of all examples, split after split.
        counts: examples of each split.
    """
    known = np.array([place for place, found in enumerate(appearances) if found is not None], np.int64)
    steps = np.array([found for found in appearances if found is not None], np.int8)  # (known, GRID * GRID)

    def unit(rows: slice) -> np.ndarray:
        """(rows, GRID * GRID) float32, each of length 1."""
        block = steps[rows].astype(np.float32)
        return np.asarray(block / np.linalg.norm(block, axis=1, keepdims=True))

    pairs: list[Pair] = []
    for start, end in _ranges(known, counts):
        for first in range(start, end, BLOCK):
            rows = unit(slice(first, min(first + BLOCK, end)))
            best, of = np.full(len(rows), -1, np.float32), np.zeros(len(rows), np.int64)
            for column in range(0, start, BLOCK):  # all examples of earlier splits
                cosine = rows @ unit(slice(column, min(column + BLOCK, start))).T
                nearest = cosine.argmax(axis=1)
                highest = cosine[np.arange(len(cosine)), nearest]
                of = np.where(highest > best, column + nearest, of)
                best = np.maximum(best, highest)
            pairs += [(int(known[of[row]]), int(known[first + row])) for row in np.flatnonzero(best >= NEAR)]
    return pairs


def _ranges(known: np.ndarray, counts: Sequence[int]) -> list[tuple[int, int]]:
    """The first and the last place, exclusive, of each split among the known appearances."""
    return list(pairwise(np.searchsorted(known, [0, *np.cumsum(counts)]).tolist()))


def equal_hashes(hashes: Sequence[str | None], counts: Sequence[int]) -> list[Pair]:
    """Each example whose hash one of an earlier split has too, with the first one there. None equals nothing.

    Args:
        hashes: of all examples, split after split.
        counts: examples of each split.
    """
    split = np.repeat(np.arange(len(counts)), counts)
    first: dict[str, int] = {}
    pairs: list[Pair] = []
    for place, value in enumerate(hashes):
        if value is not None and split[first.setdefault(value, place)] != split[place]:
            pairs.append((first[value], place))
    return pairs


def copy_faults(examples: Sequence[Example], splits: Sequence[str], pairs: Sequence[Pair]) -> list[str]:
    """A fault for each pair of images with the same bytes, but for images of one colour: blank tiles are alike.

    Args:
        splits: of each example.
        pairs: from `equal_hashes` of the images.
    """
    blank = {one: _is_blank(examples[one].image) for one in {one for one, _ in pairs}}
    return [
        f"{_file(examples[other])} ({splits[other]} split) has the same bytes as {_file(examples[one])} "
        f"({splits[one]} split): each image may be in one split only; take one of the two ids out of its list"
        for one, other in pairs
        if not blank[one] and examples[one].image != examples[other].image  # of one id in two lists
    ]


def near_copy_warning(examples: Sequence[Example], splits: Sequence[str], pairs: Sequence[Pair]) -> str | None:
    """The warning about images that look the same, if there are any.

    Args:
        splits: of each example.
        pairs: from `near_copies`.
    """
    if not pairs:
        return None
    return (
        f"{IMAGES}/: near copies in two splits: {_named(examples, splits, pairs)}; scores on near copies of training "
        "images are too high: keep them, and images of one scene, in one split"
    )


def same_mask_warning(
    examples: Sequence[Example], splits: Sequence[str], pairs: Sequence[Pair], class_pixels: np.ndarray
) -> str | None:
    """The warning about masks with the same bytes, if there are any that show more than one class.

    Args:
        splits: of each example.
        pairs: from `equal_hashes` of the masks, without those whose images are the same.
        class_pixels: (examples, classes) pixels of each class in each mask.
    """
    telling = np.count_nonzero(class_pixels, axis=1) > 1  # masks of one class alone are often equal
    pairs = [(one, other) for one, other in pairs if telling[one]]
    if not pairs:
        return None
    return (
        f"{MASKS}/: the same bytes in two splits, though their images differ: {_named(examples, splits, pairs)}; "
        "look whether each mask belongs to its image, and whether the images are copies"
    )


def _named(examples: Sequence[Example], splits: Sequence[str], pairs: Sequence[Pair]) -> str:
    return enumerated(
        [f"{examples[other].id} ({splits[other]}) and {examples[one].id} ({splits[one]})" for one, other in pairs]
    )


def _file(example: Example) -> str:
    return f"{IMAGES}/{example.id}{example.image.suffix}"


def _is_blank(path: Path) -> bool:
    """Whether an image is of one colour. Also for one that cannot be decoded, which is a fault of its own."""
    try:
        with open_image(path) as opened:
            extrema = opened.getextrema()
    except UNDECODABLE:
        return True
    channels = extrema if isinstance(extrema[0], tuple) else (extrema,)
    return all(low == high for low, high in channels)
