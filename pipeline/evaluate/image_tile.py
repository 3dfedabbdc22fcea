"""A tile that shows one image as a network predicts it, made for grids of many: photograph, truth, prediction, errors.

MLflow's image grid has square cells, so the four panels are two by two. What does not change from epoch to epoch is
drawn once.
"""

import io

import numpy as np
from PIL import Image, ImageDraw

from pipeline.data.classes import Classes
from pipeline.data.palette import VOID
from pipeline.evaluate.labels import INK, PAPER, fit_text, font
from pipeline.evaluate.overlay import blend, check_arrays, error_colours, hatch
from pipeline.evaluate.overlay_sheet import dim, panel_size

PANEL, SMALL = 320, 360  # pixels: long side of a panel, and of the whole tile in a grid
CAPTION, GAP = 16, 4  # pixels: height of a panel's caption, and what separates panels


class ImageTile:
    """The tile of one image, drawn for any number of predictions."""

    def __init__(self, image: np.ndarray, truth: np.ndarray, classes: Classes) -> None:
        """Draw what all predictions share.

        Args:
            image: (height, width, 3) uint8 RGB.
            truth: (height, width) uint8 class indices, 255 where void.

        Raises:
            ValueError: another shape or dtype.
        """
        check_arrays(image, truth=truth)
        self._classes = classes
        self._height, self._width = panel_size(*image.shape[:2], enlarge_to=PANEL, long_side=PANEL)
        size = (self._width, self._height)
        self._photograph = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
        self._truth = self._scaled(truth)
        self._sheet = Image.new("RGB", (2 * self._width + GAP, 2 * (self._height + CAPTION) + GAP), PAPER)
        for place, caption in enumerate(("photograph", "truth", "", "errors")):
            self._write(self._sheet, place, caption)
        self._paste(self._sheet, 0, self._photograph)
        self._paste(self._sheet, 1, hatch(blend(self._photograph, self._truth, classes), self._truth == VOID))
        self._dim = dim(self._photograph, self._truth)

    def draw(self, prediction: np.ndarray, iou: float | None) -> Image.Image:
        """The tile with a prediction, mode RGB.

        Args:
            prediction: (height, width) uint8 class indices, of the image's size.
            iou: mean IoU of the prediction; None where no pixel is valid.
        """
        sheet, shown = self._sheet.copy(), self._scaled(prediction)
        caption = "prediction" if iou is None else f"prediction, mean IoU {iou:.3f}"
        self._write(sheet, 2, caption)
        self._paste(sheet, 2, blend(self._photograph, shown, self._classes))
        wrong, colours = error_colours(self._truth, shown, self._classes.background)
        self._paste(sheet, 3, np.where(wrong[..., None], colours, self._dim))
        return sheet

    def _scaled(self, mask: np.ndarray) -> np.ndarray:
        return np.asarray(Image.fromarray(mask).resize((self._width, self._height), Image.Resampling.NEAREST))

    def _write(self, sheet: Image.Image, place: int, caption: str) -> None:
        """Write the caption of one of the four places."""
        left, top = self._corner(place)
        text = fit_text(caption, CAPTION - 2, self._width)
        ImageDraw.Draw(sheet).text((left + 2, top), text, INK, font(CAPTION - 2))

    def _paste(self, sheet: Image.Image, place: int, panel: np.ndarray) -> None:
        """Put a panel into one of the four places."""
        left, top = self._corner(place)
        sheet.paste(Image.fromarray(panel), (left, top + CAPTION))

    def _corner(self, place: int) -> tuple[int, int]:
        """Left and top of a place; they are numbered row by row."""
        return place % 2 * (self._width + GAP), place // 2 * (self._height + CAPTION + GAP)


def as_webp(tile: Image.Image, long_side: int | None = None) -> bytes:
    """An image as a WebP file: a fifth of a PNG of the same photograph. Equal images give equal bytes.

    Args:
        long_side: pixels that it is shrunk to; None: it keeps its size.
    """
    if long_side is not None and long_side < max(tile.size):
        tile = tile.copy()
        tile.thumbnail((long_side, long_side), Image.Resampling.BOX)
    content = io.BytesIO()
    tile.save(content, format="WEBP", quality=85, method=0)  # the fastest method; slower ones save a tenth
    return content.getvalue()
