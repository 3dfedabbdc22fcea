"""The images of a comparison as one PNG: a row for each image, a column for each run."""

import numpy as np
from PIL import Image, ImageDraw

from pipeline.compare.analysis import Analysis
from pipeline.compare.examples import ComparedImage
from pipeline.data.classes import Classes
from pipeline.evaluate.labels import FAINT_INK, INK, PAPER, fit_text, font, legend, tile
from pipeline.evaluate.overlay import blend

ROWS = 8  # images
LINES = 4  # of a column's heading
COLUMN, GAP, MARGIN, LETTER, SMALL_LETTER = 168, 10, 24, 15, 13  # pixels
LINE = round(1.25 * LETTER)
WITHOUT_PHOTOGRAPH = (235, 235, 235)
OPACITY = 0.7

Cell = tuple[Image.Image | None, str]  # the panel and the caption below it


def image_sheet(analysis: Analysis) -> Image.Image | None:
    """The test images with the largest gaps, or the validation images at the last epoch; None without images."""
    images = (analysis.images.test or analysis.images.val)[:ROWS]
    if not images:
        return None
    headings = ["photograph", "truth", *(analysis.headings[place] for place in analysis.columns)]
    first = 0 if any(image.photograph is not None for image in images) else 2  # the first column that is shown
    wrapped = [_wrap(heading) for heading in headings[first:]]
    heights = [_size(image)[0] + round(1.6 * LETTER) + GAP for image in images]
    top = MARGIN + max(map(len, wrapped)) * LINE + GAP
    width = len(wrapped) * (COLUMN + GAP) - GAP
    below = _class_legend(analysis.classes, width)

    sheet = Image.new("RGB", (2 * MARGIN + width, top + sum(heights) + below.height + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for column, lines in enumerate(wrapped):
        for number, line in enumerate(lines):
            draw.text((_left(column), MARGIN + number * LINE), line, INK, font(LETTER))
    for row, image in enumerate(images):
        y = top + sum(heights[:row])
        for column, (panel, caption) in enumerate(_cells(image, analysis.classes)[first:]):
            if panel is not None:
                sheet.paste(panel, (_left(column), y))
            text = fit_text(caption, SMALL_LETTER, COLUMN)
            draw.text((_left(column), y + _size(image)[0] + 2), text, FAINT_INK, font(SMALL_LETTER))
    sheet.paste(below, (MARGIN, top + sum(heights)))
    return sheet


def _class_legend(classes: Classes, width: int) -> Image.Image:
    """The classes with their colours. A background has none over the photograph; its swatch is an empty frame."""
    colours = [PAPER if index == classes.background else colour for index, colour in enumerate(classes.colours)]
    return legend([[(tile(colour), name) for colour, name in zip(colours, classes.names, strict=True)]], LETTER, width)


def _cells(image: ComparedImage, classes: Classes) -> list[Cell]:
    """Photograph, truth, and each run's prediction at the last epoch, each scaled to the column."""
    height, width = image.size
    size = _size(image)[::-1]
    resampling = Image.Resampling.BOX if width > COLUMN else Image.Resampling.NEAREST
    photograph = np.asarray(
        (image.photograph or Image.new("RGB", (width, height), WITHOUT_PHOTOGRAPH)).resize((width, height))
    )

    def over_photograph(mask: np.ndarray | None) -> Image.Image | None:
        if mask is None:
            return None
        return Image.fromarray(blend(photograph, mask, classes, OPACITY)).resize(size, resampling)

    last = max(image.masks)
    cells: list[Cell] = [(Image.fromarray(photograph).resize(size, resampling), image.image_id)]
    cells.append((over_photograph(image.truth), ""))
    for mask, ious in zip(image.masks[last], image.ious[last], strict=True):
        cells.append((over_photograph(mask), f"IoU {ious[0]:.3f}" if np.isfinite(ious[0]) else ""))
    return cells


def _size(image: ComparedImage) -> tuple[int, int]:
    """Height and width of an image on the sheet, in pixels."""
    height, width = image.size
    return max(1, min(2 * COLUMN, round(height * COLUMN / width))), COLUMN


def _left(column: int) -> int:
    return MARGIN + column * (COLUMN + GAP)


def _wrap(heading: str) -> list[str]:
    """The parts of a heading between commas, a line each."""
    return [fit_text(part, LETTER, COLUMN) for part in heading.split(", ")[:LINES]]
