"""The regions of a mask, in the order in which they have to be painted over each other."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pipeline.predict.outlines import BEYOND, Corner, simplify, trace


@dataclass(frozen=True)
class Region:
    """Pixels of one class that are connected by their sides."""

    index: int  # of its class
    corners: list[Corner]  # the way around it, holes included
    pixels: np.ndarray  # (height, width) bool: which of its box belong to it
    left: int
    top: int
    depth: int  # how many other regions are around it and have to be painted before
    has_holes: bool


def regions(mask: np.ndarray, background: int | None, tolerance: float, smallest: int) -> tuple[list[Region], int]:
    """The regions that give the mask when their outlines are filled one after the other, and how many are left out.

    The larger ones come first, so that what is in a hole is painted after what surrounds it. The background is left
    out, but in holes.

    Args:
        mask: (height, width) uint8 class indices.
        background: the class of pixels that no outline covers; None: every pixel is covered.
        tolerance: how far outlines may be from the edges of their regions, in pixels.
        smallest: a region of fewer pixels is left out; its pixels get the class of the nearest other region.
    """
    numbers, classes = _numbered(mask)
    numbers, classes, specks = _without_specks(mask, numbers, classes, smallest)
    boxes = ndimage.find_objects(numbers)
    filled = [_filled(numbers[box] == number) for number, box in enumerate(boxes, 1)]
    depths: dict[int, int] = {}  # of the regions that are painted, by their numbers and in their order
    painted = np.zeros(mask.shape, np.int32)  # how many regions are painted over a pixel
    for number in sorted(range(1, len(boxes) + 1), key=lambda number: -filled[number - 1].sum()):
        box = boxes[number - 1]
        depth = int(painted[box][numbers[box] == number][0])
        if depth or classes[number - 1] != background:
            painted[box] += filled[number - 1]
            depths[number] = depth
    order = np.zeros(len(boxes) + 1, np.int32)  # 0: not painted
    order[list(depths)] = range(1, len(depths) + 1)
    ordered = np.pad(order[numbers], 1, constant_values=BEYOND)
    found = []
    for number, depth in depths.items():
        rows, columns = boxes[number - 1]
        left, top = columns.start, rows.start
        part = ordered[top : rows.stop + 2, left : columns.stop + 2]
        corners = simplify(trace(part, int(order[number]), left - 1, top - 1), tolerance)
        pixels = numbers[rows, columns] == number
        has_holes = bool((pixels != filled[number - 1]).any())
        found.append(Region(classes[number - 1], corners, pixels, left, top, depth, has_holes))
    return found, specks


def _filled(pixels: np.ndarray) -> np.ndarray:
    """A region with its holes, (height, width) bool; pixels that touch at a corner are a way out of a hole."""
    around, _ = ndimage.label(~np.pad(pixels, 1), np.ones((3, 3)))
    return np.asarray((around != around[0, 0])[1:-1, 1:-1])


def _numbered(mask: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """The number of the region of each pixel, from 1, (height, width) int32, and the class of each region."""
    numbers = np.zeros(mask.shape, np.int32)
    classes: list[int] = []
    for index in np.unique(mask).tolist():
        of_class, count = ndimage.label(mask == index)
        numbers += np.where(of_class, of_class + len(classes), 0).astype(np.int32)
        classes += [index] * count
    return numbers, classes


def _without_specks(
    mask: np.ndarray, numbers: np.ndarray, classes: list[int], smallest: int
) -> tuple[np.ndarray, list[int], int]:
    """The regions without small ones, and the count of these; a mask of nothing else keeps them."""
    small = np.bincount(numbers.ravel()) < smallest
    small[0] = False  # regions are numbered from 1
    specks = small[numbers]
    if specks.all() or not specks.any():
        return numbers, classes, 0
    nearest = ndimage.distance_transform_edt(specks, return_distances=False, return_indices=True)
    return *_numbered(mask[tuple(nearest)]), int(small.sum())
