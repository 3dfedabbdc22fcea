"""Masks as pixels: class colours over the photograph, colours of errors, palette PNGs."""

from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.data.classes import Classes
from pipeline.data.palette import VOID

# Three of the colours that Okabe and Ito chose as distinguishable with any kind of colour vision ("Color Universal
# Design", 2008). None is grey, so on a grey photograph exactly the coloured pixels are wrong.
MISSED, FALSE, CONFUSED = (213, 94, 0), (86, 180, 233), (240, 228, 66)


def blend(image: np.ndarray, mask: np.ndarray, classes: Classes, opacity: float = 0.5) -> np.ndarray:
    """The photograph with the class colours over it, (height, width, 3) uint8.

    Pixels of the background, if there is one, and void (255) stay exactly as in the photograph; every other region has
    a one-pixel outline in its full colour along its inside.

    Args:
        image: (height, width, 3) uint8 RGB.
        mask: (height, width) uint8 class indices.
        opacity: 0 (photograph) to 1 (colour).

    Raises:
        ValueError: another shape, dtype or opacity.
    """
    check_arrays(image, mask=mask)
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}, expected 0 to 1")
    colours = classes.palette[mask]  # (height, width, 3)
    coloured = ~_is_background(mask, classes.background) & (mask != VOID)
    blended = image.copy()
    blended[coloured] = np.rint(image[coloured] * (1 - opacity) + colours[coloured] * opacity)
    outline = coloured & _edges(mask)
    blended[outline] = colours[outline]
    return blended


def error_colours(truth: np.ndarray, prediction: np.ndarray, background: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels are wrong, (height, width) bool, and the colour of their kind, (height, width, 3) uint8.

    `MISSED`: an object predicted as background; `FALSE`: background predicted as an object; `CONFUSED`: one class
    predicted as another, as is every error without a background. Where the truth is void (255), nothing is wrong.

    Args:
        truth, prediction: (height, width) uint8 class indices.
        background: its index, if there is one.
    """
    wrong = (truth != prediction) & (truth != VOID)
    kinds = np.where(_is_background(truth, background), 1, np.where(_is_background(prediction, background), 0, 2))
    return wrong, np.array([MISSED, FALSE, CONFUSED], np.uint8)[kinds]


def hatch(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """The image with half-transparent diagonal stripes, light and dark grey, where `where` is true.

    Args:
        image: (height, width, 3) uint8.
        where: (height, width) bool.
    """
    rows, columns = np.indices(where.shape)
    stripes = np.where((rows + columns) % 8 < 4, 215, 120)[..., None]
    return np.where(where[..., None], (image + 3 * stripes) // 4, image).astype(np.uint8)


def to_palette_png(mask: np.ndarray, palette: np.ndarray) -> Image.Image:
    """A mask as a mode P image: the pixels are the class indices.

    Args:
        mask: (height, width) uint8 class indices.
        palette: (256, 3) uint8 RGB.

    Raises:
        ValueError: another shape or dtype.
    """
    check_arrays(None, mask=mask)
    image = Image.fromarray(mask)
    image.putpalette(palette.tobytes())  # turns mode L into P and leaves the indices as they are
    return image


def write_png(path: Path, image: Image.Image) -> None:
    """Write an image as PNG; its folder is created if it is missing. Equal images give equal bytes.

    Compression level 5 takes half the time of zlib's default, 6; the files are 2 % larger.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format="PNG", compress_level=5)


def check_arrays(image: np.ndarray | None, **masks: np.ndarray) -> None:
    """Check that an image is (height, width, 3) uint8, and every mask (height, width) uint8 of the same size.

    Raises:
        ValueError: one of them is not.
    """
    if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size):
        raise ValueError(f"image is {image.dtype} {image.shape}, expected uint8 (height, width, 3)")
    for name, mask in masks.items():
        expected = mask.shape if image is None else image.shape[:2]
        if mask.dtype != np.uint8 or mask.ndim != 2 or mask.shape != expected or not mask.size:
            size = "(height, width)" if image is None else f"{expected}, the image's height and width"
            raise ValueError(f"{name} is {mask.dtype} {mask.shape}, expected uint8 {size}")


def _is_background(mask: np.ndarray, background: int | None) -> np.ndarray:
    """(height, width) bool."""
    return np.zeros(mask.shape, bool) if background is None else mask == background


def _edges(mask: np.ndarray) -> np.ndarray:
    """Pixels with another index above, below, left or right of them, (height, width) bool."""
    edges = np.zeros(mask.shape, bool)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges
