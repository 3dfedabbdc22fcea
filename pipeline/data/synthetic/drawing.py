"""Draws the examples of `dataset=shapes`: small images of textured shapes, and their masks.

The class of an object is its outline. Its hue is a hint: most objects of a class have a hue near that of the class, so
a small network learns something in minutes, but some have any hue, or the colours of the background, and only their
outline identifies them. Texture, size and rotation are drawn from the same distributions for every class. An outline is
given by its signed distance function (negative inside), from which the anti-aliased image, the shadow, the mask and its
void border are all derived.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from pipeline.data.palette import VOID
from pipeline.data.synthetic.textures import (
    Field,
    background_colours,
    fractal_noise,
    object_colours,
    pattern,
    value_noise,
)

CLASSES = ("background", "circle", "triangle", "square", "star", "heart", "ring", "cross")
SEED = 20120719
# (height, width). Few sizes, since evaluation batches images of equal size; not all of them multiples of 16.
SIZES = ((112, 152), (128, 128), (128, 176), (144, 144), (152, 112), (168, 124))
BORDER = 1.25  # pixels at each side of an outline that are void in the mask, as in VOC


def _star(x: Field, y: Field, points: int, notch: float) -> Field:
    """Signed distance to a star with its points at radius 1 and its notches at radius `notch`.

    By symmetry, every position is mirrored into one sector, where the outline is a single edge from the point (0, 1) to
    a notch. With a notch of cos(pi / points) the edge and its mirror image form a straight line: the star is a regular
    polygon.
    """
    sin, cos = np.sin(np.pi / points), np.cos(np.pi / points)
    x = np.abs(x)
    for _ in range(points // 2):  # each mirroring takes two sectors off the range of angles, which starts with `points`
        beyond = np.maximum(0.0, x * cos - y * sin)
        x, y = np.abs(x - 2 * cos * beyond), y + 2 * sin * beyond
    edge_x, edge_y, from_y = notch * sin, notch * cos - 1, y - 1
    nearest = np.clip((x * edge_x + from_y * edge_y) / (edge_x**2 + edge_y**2), 0.0, 1.0)
    away = np.hypot(x - nearest * edge_x, from_y - nearest * edge_y)
    return np.asarray(away * np.sign(from_y * edge_x - x * edge_y))


def _cross(x: Field, y: Field) -> Field:
    """Signed distance to a cross of five unit squares: by symmetry, the distance to the nearest arm."""
    x, y = np.abs(x), np.abs(y)
    end, flank = np.maximum(x, y) - 1.5, np.minimum(x, y) - 0.5
    return np.hypot(np.maximum(end, 0), np.maximum(flank, 0)) + np.minimum(np.maximum(end, flank), 0)


def _heart(x: Field, y: Field) -> Field:
    """Signed distance to a heart: a square on its corner with two half discs (I. Quilez, iquilezles.org, sdHeart)."""
    x, y = np.abs(x), 0.55 - y
    lobe = np.hypot(x - 0.25, y - 0.75) - np.sqrt(2) / 4
    diagonal = np.maximum(x + y, 0.0) / 2
    side = np.minimum(np.hypot(x, y - 1), np.hypot(x - diagonal, y - diagonal)) * np.sign(x - y)
    return np.where(x + y > 1, lobe, side)


# class -> (area, signed distance). The area scales all outlines to the same number of pixels, which balances classes.
OUTLINES: dict[str, tuple[float, Callable[[Field, Field], Field]]] = {
    "circle": (np.pi, lambda x, y: np.hypot(x, y) - 1),
    "triangle": (3 * np.sin(np.pi / 3) * 0.5, lambda x, y: _star(x, y, 3, 0.5)),
    "square": (2.0, lambda x, y: _star(x, y, 4, np.sqrt(0.5))),
    "star": (5 * np.sin(np.pi / 5) * 0.46, lambda x, y: _star(x, y, 5, 0.46)),
    "heart": (0.5 + np.pi / 8, _heart),
    "ring": (np.pi * (1 - 0.5**2), lambda x, y: np.abs(np.hypot(x, y) - 0.75) - 0.25),
    "cross": (5.0, _cross),
}


@dataclass(frozen=True)
class Shape:
    """One object in an image; lengths in pixels, angles in radians."""

    label: int  # index into CLASSES
    x: float
    y: float
    side: float  # square root of the area
    angle: float
    stretch: float  # factor along one axis, divided by along the other, so that the area is unchanged

    def distance(self, x: Field, y: Field) -> Field:
        """Signed distance in pixels, negative inside; exact if stretch is 1, else within 15 % near the outline."""
        area, outline = OUTLINES[CLASSES[self.label]]
        scale, cos, sin = self.side / np.sqrt(area), np.cos(self.angle), np.sin(self.angle)
        x, y = (x - self.x) / scale, (y - self.y) / scale
        return np.asarray(scale * outline((x * cos + y * sin) * self.stretch, (y * cos - x * sin) / self.stretch))


def _place(rng: np.random.Generator, height: int, width: int) -> list[Shape]:
    """One to six shapes, from back to front, which may overlap but have their centres apart."""
    shapes: list[Shape] = []
    for _ in range(rng.choice([1, 2, 3, 4, 5, 6], p=[0.1, 0.15, 0.2, 0.2, 0.2, 0.15])):
        for _attempt in range(12):
            side = rng.uniform(32, 56)
            x, y = rng.uniform(0.4 * side, width - 0.4 * side), rng.uniform(0.4 * side, height - 0.4 * side)
            if all(np.hypot(x - other.x, y - other.y) > 0.45 * (side + other.side) for other in shapes):
                label = int(rng.integers(1, len(CLASSES)))
                shapes.append(Shape(label, x, y, side, rng.uniform(0, 2 * np.pi), np.exp(rng.uniform(-0.14, 0.14))))
                break
    return shapes


def _hue(rng: np.random.Generator, label: int) -> float:
    """The hue of an object, a share of the circle: near that of its class, except for one object in fifty."""
    if rng.random() < 0.02:
        return rng.random()
    return (label - 1) / (len(CLASSES) - 1) + rng.normal(0, 0.016)


def _mix(colours: Field, amount: Field) -> Field:
    """Blend two colours, (2, 3), by an amount (height, width) of the second.

    Returns:
        (3, height, width), the layout that numpy multiplies fastest.
    """
    first, second = colours[:, :, None, None]
    return np.asarray(first + amount * (second - first))


def render_example(index: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The image and the mask of a number, as a pure function of it.

    Returns:
        (height, width, 3) uint8 RGB, and (height, width) uint8: indices of CLASSES, and VOID within BORDER pixels of
        every visible outline.
    """
    rng = np.random.Generator(np.random.PCG64([SEED, index]))
    height, width = SIZES[rng.integers(len(SIZES))]
    hue = rng.random()
    ground = background_colours(rng, hue)
    image = _mix(ground, pattern(rng, height, width, rng.uniform(14, 40)))
    image *= 1 + rng.uniform(0.1, 0.4) * (fractal_noise(rng, height, width, rng.uniform(6, 16)) - 0.5)
    mask = np.zeros((height, width), np.uint8)
    towards_light = rng.uniform(0, 2 * np.pi)
    light_x, light_y = np.cos(towards_light), np.sin(towards_light)
    drop, softness = rng.uniform(2, 5), rng.uniform(3, 7)  # of the shadows, in pixels

    for shape in _place(rng, height, width):
        reach = 1.02 * shape.side + drop + softness / 2
        top, bottom = max(0, int(shape.y - reach)), min(height, int(shape.y + reach) + 1)
        left, right = max(0, int(shape.x - reach)), min(width, int(shape.x + reach) + 1)
        y, x = np.mgrid[top:bottom, left:right].astype(np.float64)
        image_here, mask_here = image[:, top:bottom, left:right], mask[top:bottom, left:right]  # views

        shadow = np.clip(0.5 - shape.distance(x + drop * light_x, y + drop * light_y) / softness, 0.0, 1.0)
        image_here *= 1 - 0.45 * shadow

        distance = shape.distance(x, y)
        slope_y, slope_x = np.gradient(distance)
        relief = (slope_x * light_x + slope_y * light_y) * np.exp(-((distance / 3) ** 2))  # the rim catches the light
        colours = object_colours(rng, _hue(rng, shape.label), ground)
        paint = _mix(colours, pattern(rng, bottom - top, right - left, rng.uniform(6, 16)))
        paint *= 1 + 0.25 * relief + 0.12 * (value_noise(rng, bottom - top, right - left, 3) - 0.5)
        image_here += np.clip(0.5 - distance, 0.0, 1.0) * (paint - image_here)

        mask_here[distance < BORDER] = VOID
        mask_here[distance < -BORDER] = shape.label

    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    image *= 1 + rng.uniform(0.05, 0.18) * (x * light_x + y * light_y)
    return _add_blur_and_noise(rng, image), mask


def _add_blur_and_noise(rng: np.random.Generator, image: Field) -> NDArray[np.uint8]:
    """The scene (3, height, width) through a slightly soft lens and a noisy sensor, (height, width, 3) uint8."""
    pixels = np.rint(255 * np.clip(image, 0.0, 1.0)).astype(np.uint8).transpose(1, 2, 0)
    near = rng.uniform(0.0, 0.12)  # share of each of the four nearest pixels
    far = near**2
    lens = ImageFilter.Kernel((3, 3), [far, near, far, near, 1, near, far, near, far], scale=1 + 4 * near + 4 * far)
    blurred = np.asarray(Image.fromarray(pixels).filter(lens), dtype=np.float32)
    noise = np.float32(rng.uniform(1.0, 5.0)) * rng.standard_normal((*blurred.shape[:2], 1), dtype=np.float32)
    return np.asarray(np.clip(np.rint(blurred + noise), 0, 255), dtype=np.uint8)
