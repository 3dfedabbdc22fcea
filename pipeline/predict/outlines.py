"""The outline of a region as a polygon: along the edges of its pixels or through their centres, with fewer points.

Both are the exact inverse of a rule by which tools fill polygons (see `pipeline.convert.rasterize`): COCO's gives back
the pixels within edges, Pillow's those that lie within and on a line through centres.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

Point = tuple[float, float]  # x, y in pixels, from the top left corner of the image

BEYOND = -1  # the number of what is beyond the image
EAST = 0
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # to the east, south, west and north
RIGHT = ((0, 0), (-1, 0), (-1, -1), (0, -1))  # from a corner to the pixel on the right of the edge that begins there
LEFT = ((0, -1), (0, 0), (-1, 0), (-1, -1))  # and to the one on its left


@dataclass(frozen=True)
class Corner:
    """A corner of pixels on the way around a region, which has the region on its right."""

    x: int
    y: int
    before: tuple[int, int]  # x, y of the pixel that an outline through centres takes at the edge that ends here
    after: tuple[int, int]  # and at the edge that begins here
    fixed: bool  # more than two regions meet here, or the sides of the image: no outline may leave it out


def trace(numbers: np.ndarray, own: int, left: int, top: int) -> list[Corner]:
    """The way around a region, clockwise from the top left corner of its first pixel, without what is in its holes.

    Pixels that touch at a corner alone are not connected. Corners at which the way goes straight on are left out,
    unless they are fixed. Next to a region with a higher number, an outline through centres takes the pixels of that
    region, which is painted later and has the same pixels in its own outline: no gap opens between them.

    Args:
        numbers: (height, width), the number of the region of each pixel, of the part of an image that holds the region,
            with one pixel around it.
        own: the region's number.
        left, top: where the part begins in the image.
    """
    view = np.ascontiguousarray(numbers).data  # faster to look into than an array
    y, x = divmod(int((numbers == own).argmax()), numbers.shape[1])
    start, corners = (x, y), []

    def pixel(x: int, y: int, direction: int) -> tuple[int, int]:
        across_x, across_y = x + LEFT[direction][0], y + LEFT[direction][1]
        if view[across_y, across_x] > own:
            return left + across_x, top + across_y
        return left + x + RIGHT[direction][0], top + y + RIGHT[direction][1]

    direction = EAST
    while True:
        arriving, before = direction, pixel(x, y, direction)
        x, y = x + STEPS[direction][0], y + STEPS[direction][1]
        if view[y + RIGHT[direction][1], x + RIGHT[direction][0]] != own:
            direction = (direction + 1) % 4
        elif view[y + LEFT[direction][1], x + LEFT[direction][0]] == own:
            direction = (direction - 1) % 4
        around = (view[y - 1, x - 1], view[y - 1, x], view[y, x], view[y, x - 1])
        changes = sum(around[place] != around[place - 1] for place in range(4))
        fixed = changes > 2 or around.count(BEYOND) == 3
        if direction != arriving or fixed:
            corners.append(Corner(left + x, top + y, before, pixel(x, y, direction), fixed))
        if (x, y) == start:
            return [corners[-1], *corners[:-1]]


def along_edges(corners: list[Corner]) -> list[Point]:
    """The polygon whose sides are edges of pixels: COCO's rule fills it with the region."""
    return _reduced([(corner.x, corner.y) for corner in corners])


def through_centres(corners: list[Corner]) -> list[Point]:
    """The polygon through the centres of the outermost pixels: Pillow's rule fills it with the region."""
    pixels = [pixel for corner in corners for pixel in (corner.before, corner.after)]
    # Pillow cuts the fraction off.
    return [(x + 0.5, y + 0.5) for x, y in _reduced(pixels)]


def _reduced(points: list[tuple[int, int]]) -> list[Point]:
    """A ring without repeated points and those on a straight way; at least three points."""
    kept: list[Point] = []
    for point in points:
        if kept and kept[-1] == point:
            continue
        while len(kept) > 1 and _straight(kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    while len(kept) > 1 and kept[-1] == kept[0]:
        kept.pop()
    while len(kept) > 2 and _straight(kept[-2], kept[-1], kept[0]):
        kept.pop()
    while len(kept) > 2 and _straight(kept[-1], kept[0], kept[1]):
        kept.pop(0)
    return kept + kept[-1:] * (3 - len(kept))


def _straight(before: Point, point: Point, after: Point) -> bool:
    (x0, y0), (x, y), (x1, y1) = before, point, after
    cross = (x - x0) * (y1 - y) - (y - y0) * (x1 - x)
    return cross == 0 and (x - x0) * (x1 - x) + (y - y0) * (y1 - y) > 0


def area(corners: list[Corner]) -> float:
    """The area within a polygon, in pixels (the shoelace formula)."""
    x = np.array([corner.x for corner in corners], np.int64)
    y = np.array([corner.y for corner in corners], np.int64)
    return abs(float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))) / 2


def simplify(corners: list[Corner], tolerance: float) -> list[Corner]:
    """Fewer corners, such that the ones left out are at most `tolerance` pixels away from the outline.

    Douglas and Peucker 1973, between the fixed corners. What two regions share is the same for both, so no gap opens
    between them. An outline that would lose half of its area, as that of a thin region, stays as it is.
    """
    if tolerance == 0:
        return corners
    first = next((place for place, corner in enumerate(corners) if corner.fixed), None)
    if first is None:
        first = min(range(len(corners)), key=lambda place: (corners[place].x, corners[place].y))
    ring = corners[first:] + corners[:first]
    ring.append(ring[0])
    points = np.array([(corner.x, corner.y) for corner in ring], np.float64)
    anchors = [0, *(place for place, corner in enumerate(ring[1:-1], 1) if corner.fixed), len(ring) - 1]
    kept = set(anchors)
    parts = list(itertools.pairwise(anchors))
    while parts:
        start, end = parts.pop()
        if end - start < 2:
            continue
        distances = _distances(points[start + 1 : end], points[start], points[end])
        greatest = distances.max()
        closed = bool((points[start] == points[end]).all())
        if greatest <= tolerance and not closed:
            continue
        # Of several equally far ones the same in either direction.
        places = start + 1 + np.flatnonzero(distances == greatest)
        middle = min(places.tolist(), key=lambda place: tuple(points[place]))
        kept.add(middle)
        parts += [(start, middle), (middle, end)]
    simplified = [ring[place] for place in sorted(kept - {len(ring) - 1})]
    return simplified if area(simplified) >= area(corners) / 2 else corners


def _distances(points: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The distances of points, (points, 2), from a segment; the same if it is reversed."""
    if tuple(end) < tuple(start):
        start, end = end, start
    along = end - start
    length = math.hypot(*along)
    if length == 0:
        return np.hypot(*(points - start).T)
    share = np.clip((points - start) @ along / length**2, 0, 1)
    return np.hypot(*(points - start - share[:, None] * along).T)
