"""Which colour a class index is stored and shown with: PASCAL VOC's palette, and colours that people can tell apart."""

import functools

import numpy as np

from pipeline.config.classes import VOC_CLASSES, VOID_INDEX, voc_colour

VOID = VOID_INDEX  # the index of pixels without a class
Colour = tuple[int, int, int]  # RGB, 0 to 255

BLACK, GREY, WHITE = (0, 0, 0), (128, 128, 128), (255, 255, 255)  # the background, dim photographs, paper
# From linear RGB to the responses of the three kinds of cones, and from their cube roots to lightness, green to red and
# blue to yellow: OKLab (Ottosson 2020, "A perceptual color space for image processing").
TO_CONES = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929],
     [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
TO_OKLAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468],
     [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip
# How linear RGB looks to people without one kind of cones, at severity 1 (Machado, Oliveira and Fernandes 2009).
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


@functools.cache
def _voc_colours() -> tuple[Colour, ...]:
    return tuple(voc_colour(index) for index in range(VOID + 1))


def voc_palette() -> np.ndarray:
    """The 256 colours of VOC's palette PNGs, (256, 3) uint8 RGB; see `pipeline.config.classes.voc_colour`."""
    return np.array(_voc_colours(), np.uint8)


def class_colours(classes: int, background: int | None) -> list[Colour]:
    """The colour of each class. Those of the first classes do not depend on how many follow.

    With the background at index 0, as in VOC, they are VOC's colours for as many classes as VOC has. All others are
    `distinct_colours`, but a background is black.

    Args:
        classes: their number, up to 255.
        background: its index.
    """
    if background == 0:
        first = _voc_colours()[:VOC_CLASSES]
        return [*first[:classes], *distinct_colours(max(0, classes - VOC_CLASSES), first)]
    colours = list(distinct_colours(classes))
    if background is not None:
        colours[background] = BLACK
    return colours


@functools.cache
def distinct_colours(count: int, taken: tuple[Colour, ...] = ()) -> tuple[Colour, ...]:
    """Colours that are far from each other, from those taken, and from black, grey, white and the colour of void.

    Each is the one of a grid of colours, neither dark nor grey, that is farthest from all before it. The distance is
    the smaller of that in OKLab and of twice that in OKLab as people with protanopia or deuteranopia see it. A
    difference of 0.02 can just be noticed. Any two of the first 8 colours are more than 0.2 apart, of 20 0.12, of 50
    0.08, of 100 0.055; without red or without green cones 0.09, 0.06, 0.04 and 0.025.
    """
    steps = range(0, 256, 17)
    grid = np.array([(red, green, blue) for red in steps for green in steps for blue in steps])
    lightness, *opponents = oklab(grid).T
    grid = grid[(lightness > 0.35) & (lightness < 0.95) & (np.hypot(*opponents) > 0.04)]
    before = np.array([*taken, BLACK, GREY, WHITE, _voc_colours()[VOID]])
    places, others = _coordinates(grid), _coordinates(before)  # (3 visions, colours, 3)
    nearest = np.min([_squared_distances(places, others[:, other]) for other in range(len(before))], axis=0)
    chosen = []
    for _ in range(count):
        index = int(nearest.argmax())
        chosen.append((int(grid[index][0]), int(grid[index][1]), int(grid[index][2])))
        nearest = np.minimum(nearest, _squared_distances(places, places[:, index]))
    return tuple(chosen)


def oklab(colours: np.ndarray, vision: np.ndarray | None = None) -> np.ndarray:
    """Lightness (0 to 1), green to red and blue to yellow, (colours, 3) float64.

    Args:
        colours: (colours, 3) sRGB, 0 to 255.
        vision: `PROTANOPIA` or `DEUTERANOPIA`; None: with all cones.
    """
    scaled = np.asarray(colours) / 255
    linear = np.where(scaled <= 0.04045, scaled / 12.92, ((scaled + 0.055) / 1.055) ** 2.4)
    if vision is not None:
        linear = np.clip(linear @ vision.T, 0, None)
    return np.cbrt(linear @ TO_CONES.T) @ TO_OKLAB.T


def _coordinates(colours: np.ndarray) -> np.ndarray:
    """(3 visions, colours, 3) int64. Integers: the same colours are the farthest ones on every machine."""
    views = [oklab(colours), 2 * oklab(colours, PROTANOPIA), 2 * oklab(colours, DEUTERANOPIA)]
    return np.rint(100_000 * np.array(views)).astype(np.int64)


def _squared_distances(places: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each of the places, (3, colours, 3), from another, (3, 3): (colours,) int64, the smallest of all visions."""
    return np.asarray(((places - other[:, None]) ** 2).sum(axis=2).min(axis=0))
