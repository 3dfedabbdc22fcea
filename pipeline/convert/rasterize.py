"""Outlines become pixels, by the rule of the tool that drew them.

There are two rules for which pixels an outline covers. COCO's (pycocotools; CVAT and datumaro use it too): the outline
is traced at five times the resolution and filled column by column, so a polygon from 1 to 3 covers two pixels. Pillow's
(labelme; Supervisely's OpenCV is alike): the pixels that the outline passes through belong to it, so the same polygon
covers three.
"""

import base64
import io
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from pipeline.convert.extra import import_extra
from pipeline.convert.source import Size
from pipeline.data.image_files import MAX_PIXELS

FARTHEST = 10  # sides of the image that a point may be away from it; a mistake, or an attack, beyond
LINE_WIDTH, POINT_RADIUS = 10, 5  # pixels, of labelme's lines and points
ELLIPSE_POINTS = 360


@dataclass(frozen=True, slots=True)
class Shape:
    """What one outline covers.

    `kind`: polygon, rectangle, circle, line or point with Pillow's rule; `bitmap`, whose data is a PNG in base64 with
    its place; `coco` with polygons; `rle` with run lengths down the columns, `rows` with those along the rows,
    the first of them of what is not covered.
    """

    index: int  # class, or 255
    kind: str
    data: Any  # points as ((x, y), …); polygons as arrays of x, y, x, y, …; (counts, left, top, width, height); …


@dataclass(frozen=True, slots=True)
class Outlines:
    """A mask that is drawn from outlines, later ones over earlier ones."""

    shapes: tuple[Shape, ...]
    outside: int  # index of what no outline covers
    size: Size | None  # for which the outlines are; None: that of the displayed image

    def read(self, size: Size) -> np.ndarray:
        """See `pipeline.convert.source.MaskSource`."""
        width, height = self.size or size
        if min(width, height) < 1 or width * height > MAX_PIXELS:
            raise ValueError(f"is for an image of {width}x{height}; at most {MAX_PIXELS} pixels expected")
        by_columns = bool(self.shapes) and self.shapes[0].kind in ("coco", "rle")  # as what they cover is laid out
        mask = np.full((height, width), self.outside, np.uint8, "F" if by_columns else "C")
        for shape in self.shapes:
            np.copyto(mask, shape.index, where=covered(shape, width, height), casting="unsafe")
        return np.ascontiguousarray(mask)


def covered(shape: Shape, width: int, height: int) -> np.ndarray:
    """The pixels that a shape covers, (height, width) bool.

    Raises:
        ValueError: its data make no sense.
    """
    if shape.kind in ("rle", "rows"):
        counts, left, top, wide, tall = shape.data
        part = run_lengths(counts, wide, tall) if shape.kind == "rle" else run_lengths(counts, tall, wide).T
        return placed(part, left, top, width, height)
    if shape.kind == "coco":
        return coco_polygons(shape.data, width, height)
    if shape.kind == "bitmap":
        text, left, top, compressed = shape.data
        return placed(bitmap(text, compressed), left, top, width, height)
    return drawn(shape.kind, shape.data, width, height)


def require_near(points: Sequence[float], width: int, height: int) -> None:
    """Raises: ValueError: a coordinate is no number, or far outside of the image."""
    most = FARTHEST * max(width, height)
    plain = {*map(type, points)} <= {int, float} and all(map(math.isfinite, points))
    if plain and (not points or (-most <= min(points) and max(points) <= most)):
        return
    for value in points:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError(f"has a coordinate {value!r}; a number expected")
        if abs(value) > most:
            raise ValueError(f"has a coordinate {value:g}, far outside of its {width}x{height} pixels")


def drawn(kind: str, points: Sequence[Sequence[float]], width: int, height: int) -> np.ndarray:
    """A shape by Pillow's rule, with the calls of labelme 6.3 (`labelme.utils.shape_to_mask`), (height, width) bool."""
    require_near([value for point in points for value in point], width, height)
    canvas = Image.new("L", (width, height))
    draw = ImageDraw.Draw(canvas)
    pairs = [(float(x), float(y)) for x, y in points]
    least = {"polygon": 3, "rectangle": 2, "circle": 2, "line": 2, "point": 1}[kind]
    if len(pairs) < least:
        raise ValueError(f"a {kind} of {len(pairs)} points; at least {least} expected")
    if kind == "rectangle" and len(pairs) > 2:
        if len(pairs) != 4:
            raise ValueError(f"a rectangle of {len(pairs)} points; 2, or its 4 corners, expected")
        kind = "polygon"  # X-AnyLabeling writes all corners
    if kind == "polygon":
        draw.polygon(pairs, outline=1, fill=1)
    elif kind == "rectangle":
        (x0, y0), (x1, y1) = pairs[0], pairs[1]
        draw.rectangle((min(x0, x1), min(y0, y1), max(x0, x1), max(y0, y1)), outline=1, fill=1)
    elif kind == "line":
        draw.line(pairs, fill=1, width=LINE_WIDTH)
    else:
        (x, y), radius = pairs[0], POINT_RADIUS if kind == "point" else math.dist(pairs[0], pairs[1])
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), outline=1, fill=1)
    return np.asarray(canvas, bool)


def coco_polygons(polygons: Sequence[Sequence[float]], width: int, height: int) -> np.ndarray:
    """What at least one of the polygons covers, by COCO's rule, (height, width) bool."""
    coco_mask = import_extra("pycocotools.mask")
    for polygon in polygons:
        require_near(polygon, width, height)
    runs = coco_mask.frPyObjects([[*map(float, polygon)] for polygon in polygons], height, width)
    merged = runs[0] if len(runs) == 1 else coco_mask.merge(runs)
    return np.asarray(coco_mask.decode(merged)).view(bool)


def run_lengths(counts: str | Sequence[int], width: int, height: int) -> np.ndarray:
    """Run lengths down the columns, as numbers or in COCO's compressed text, (height, width) bool.

    Raises:
        ValueError: they do not add up to the pixels.
    """
    numbers = _decompressed(counts) if isinstance(counts, str) else list(counts)
    if not all(isinstance(number, int) and 0 <= number <= MAX_PIXELS for number in numbers):
        raise ValueError("has run lengths that are no whole numbers")
    if width * height > MAX_PIXELS or sum(numbers) != width * height:
        raise ValueError(f"has run lengths of {sum(numbers)} pixels; {width}x{height} expected")
    runs = np.repeat(np.arange(len(numbers)) % 2 == 1, numbers)
    return runs.reshape(width, height).T


def _decompressed(text: str) -> list[int]:
    """COCO's text: numbers of five bits a character, from the third on as differences to the one before the last."""
    numbers: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 40:
            raise ValueError("has compressed run lengths that are damaged")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value -= 1 << shift
            numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("has compressed run lengths that end too early")
    return numbers


def bitmap(text: str, compressed: bool) -> np.ndarray:
    """A PNG in base64, with zlib around it or not, (height, width) bool: what is neither black nor transparent."""
    try:
        content = base64.b64decode(text, validate=True)
        if compressed:
            content = zlib.decompressobj().decompress(content, MAX_PIXELS)
        with Image.open(io.BytesIO(content), formats=("PNG",)) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise ValueError(f"{opened.width}x{opened.height} pixels")
            pixels = np.asarray(opened if opened.mode in ("1", "L", "P") else opened.convert("RGBA"))
    except (ValueError, OSError, SyntaxError, zlib.error) as error:
        raise ValueError(f"has a bitmap that cannot be read: {error}") from error
    return np.asarray(pixels[..., 3] > 0 if pixels.ndim == 3 else pixels > 0)


def placed(part: np.ndarray, left: int, top: int, width: int, height: int) -> np.ndarray:
    """A part at its place in the image, cut at the image's sides, (height, width) bool."""
    whole = np.zeros((height, width), bool)
    tall, wide = part.shape
    x0, y0, x1, y1 = max(left, 0), max(top, 0), min(left + wide, width), min(top + tall, height)
    if x0 < x1 and y0 < y1:
        whole[y0:y1, x0:x1] = part[y0 - top : y1 - top, x0 - left : x1 - left]
    return whole


def rotated_box(left: float, top: float, right: float, bottom: float, degrees: float) -> tuple[float, ...]:
    """The corners of a box that is turned clockwise around its middle, x, y, x, y, …"""
    x, y = (left + right) / 2, (top + bottom) / 2
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    return tuple(
        value
        for cx, cy in corners
        for value in (x + (cx - x) * cosine - (cy - y) * sine, y + (cx - x) * sine + (cy - y) * cosine)
    )


def ellipse(x: float, y: float, rx: float, ry: float, degrees: float) -> tuple[float, ...]:
    """An ellipse as a polygon, x, y, x, y, …"""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    points = []
    for step in range(ELLIPSE_POINTS):
        angle = 2 * math.pi * step / ELLIPSE_POINTS
        along, across = rx * math.cos(angle), ry * math.sin(angle)
        points += [x + along * cosine - across * sine, y + along * sine + across * cosine]
    return tuple(points)
