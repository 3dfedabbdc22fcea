"""A confusion matrix as an image: how the pixels of every true class were predicted, and each class's IoU."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pipeline.evaluate.metrics import iou_per_class
from pipeline.evaluate.overlay import FAINT_INK, INK, PAPER, font, lettering

# White to dark blue, every step darker than the one before: the colours of ColorBrewer's 9-class "Blues" (Brewer,
# colorbrewer2.org), begun with white so that an empty cell is paper. Readable in greyscale and with any colour vision.
BLUES = np.array(
    [
        (255, 255, 255), (222, 235, 247), (198, 219, 239), (158, 202, 225), (107, 174, 214),
        (66, 146, 198), (33, 113, 181), (8, 81, 156), (8, 48, 107),
    ]
)  # fmt: skip
NO_PIXELS = (226, 226, 226)  # a grey, which no share is painted in: a class that never occurs in the truth
GRID, BAR_GROUND = (218, 218, 218), (238, 238, 238)

MATRIX_SIDE, SMALLEST_CELL, LARGEST_CELL = 760, 22, 120  # pixels
CELL_FOR_TEXT, CELL_FOR_DECIMAL = 27, 60  # pixels: from here on a cell says its percent, and with a decimal
LETTER, TITLE, LONGEST_NAME = 15, 21, 190  # pixels
MARGIN, GAP, BAR, SCALE = 24, 10, 100, 14  # pixels; the last two: length of a full IoU bar, width of the colour scale


def confusion_image(confusion_matrix: np.ndarray, classes: Sequence[str]) -> Image.Image:
    """A heat map of the matrix with each row divided by its sum, and beside each row the IoU of its class as a bar.

    `confusion_matrix` is (classes, classes) integers: pixels, with truth in rows and prediction in columns; `classes`
    are the names in index order. Returns a mode RGB image. Cells show their percent where it fits (up to 28 classes),
    and stay empty where it rounds to 0. A class that never occurs in the truth has a grey row with '-'; an IoU of '-'
    means that it was not predicted either.
    Raises ValueError on another shape or dtype, a negative count, or another number of names than of rows.
    """
    _check(confusion_matrix, classes)
    count = len(classes)
    truth_pixels = confusion_matrix.sum(axis=1)
    share = confusion_matrix / np.maximum(truth_pixels, 1)[:, None]  # (truth, prediction), 0 to 1
    cell = min(LARGEST_CELL, max(SMALLEST_CELL, MATRIX_SIDE // count))
    side, decimals = count * cell, int(cell >= CELL_FOR_DECIMAL)
    names = [lettering(name, LETTER, LONGEST_NAME) for name in classes]
    name_width = round(max(font(LETTER).getlength(name) for name in names))
    upright = name_width > cell - 6  # names that do not fit under their column are turned

    # From left to right: axis title, names, matrix, IoU, colour scale. From top to bottom: heads, matrix, names, title.
    left, top = MARGIN + LETTER + 2 * GAP + name_width + GAP, MARGIN + TITLE + 2 * LETTER + 4 * GAP
    iou_left = left + side + 2 * GAP
    scale_left = iou_left + BAR + 5 * LETTER
    below = top + side + GAP + (name_width if upright else LETTER) + 2 * GAP
    head, remark = "Confusion matrix", "percent of the true class's pixels"
    width = max(scale_left + SCALE + 4 * LETTER, MARGIN + round(font(TITLE).getlength(head)))
    image = Image.new("RGB", (width, below + LETTER + MARGIN), PAPER)
    draw = ImageDraw.Draw(image)

    _write(draw, (MARGIN, MARGIN + TITLE // 2), head, TITLE)
    _write(draw, (MARGIN, MARGIN + TITLE + GAP + LETTER // 2), remark, LETTER, FAINT_INK)
    _write(draw, (left + side / 2, below + LETTER // 2), "predicted class", LETTER, FAINT_INK, align=0.5)
    _write_upwards(image, (MARGIN, top + side // 2), "true class", FAINT_INK, align=0.5)

    draw.rectangle((left - 1, top - 1, left + side - 1, top + side - 1), fill=GRID)
    for row, column in np.ndindex(count, count):
        x, y = left + column * cell, top + row * cell
        colour = _blue(float(share[row, column])) if truth_pixels[row] else NO_PIXELS
        draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=colour)
        text = f"{100 * share[row, column]:.{decimals}f}" if truth_pixels[row] else "-"
        if cell >= CELL_FOR_TEXT and text not in ("0", "0.0"):
            ink = (INK if truth_pixels[row] else FAINT_INK) if _luminance(colour) > 140 else PAPER
            _write(draw, (x + cell / 2 - 1, y + cell / 2 - 1), text, min(18, round(0.39 * cell)), ink, align=0.5)

    for index, name in enumerate(names):
        middle = index * cell + cell // 2
        _write(draw, (left - GAP, top + middle), name, LETTER, align=1)
        if upright:
            _write_upwards(image, (left + middle - LETTER // 2 - 1, top + side + GAP), name, INK, align=0)
        else:
            _write(draw, (left + middle, top + side + GAP + LETTER // 2), name, LETTER, align=0.5)

    _write(draw, (iou_left, top - GAP - LETTER // 2), "IoU, %", LETTER, FAINT_INK)
    thickness = min(20, cell - 8)
    for index, iou in enumerate(iou_per_class(confusion_matrix)):
        middle = top + index * cell + cell // 2
        bar_top, bar_bottom = middle - thickness // 2, middle - thickness // 2 + thickness - 1
        text = "-" if np.isnan(iou) else f"{100 * iou:.1f}"
        for fill, length in ((BAR_GROUND, BAR), (_blue(0.7), round(BAR * float(np.nan_to_num(iou))))):
            if length and text != "-":
                draw.rectangle((iou_left, bar_top, iou_left + length - 1, bar_bottom), fill=fill)
        _write(draw, (iou_left + BAR + 3 * LETTER, middle), text, LETTER, align=1)

    for y in range(side):
        draw.line((scale_left, top + y, scale_left + SCALE, top + y), fill=_blue(1 - y / max(1, side - 1)))
    draw.rectangle((scale_left, top - 1, scale_left + SCALE, top + side - 1), outline=GRID)
    for percent in (0, 25, 50, 75, 100):
        y = top + round((1 - percent / 100) * (side - 1))
        draw.line((scale_left + SCALE, y, scale_left + SCALE + 4, y), fill=FAINT_INK)
        _write(draw, (scale_left + SCALE + GAP, y), str(percent), LETTER, FAINT_INK)
    return image


def _blue(share: float) -> tuple[int, int, int]:
    """The colour of a share between 0 and 1, linear between the colours of `BLUES`."""
    steps = np.linspace(0, 1, len(BLUES))
    red, green, blue = (round(float(np.interp(share, steps, channel))) for channel in BLUES.T)
    return red, green, blue


def _luminance(colour: tuple[int, int, int]) -> float:
    """Brightness from 0 to 255 as the eye weighs the channels (ITU-R BT.601, luma)."""
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _write(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    ink: tuple[int, int, int] = INK,
    align: float = 0,
) -> None:
    """Text with figures centred on height at[1], and at at[0] its left end (align 0), middle (0.5) or right end (1)."""
    _, figure_top, _, figure_bottom = font(size).getbbox("0")
    x, y = at[0] - align * font(size).getlength(text), at[1] - (figure_top + figure_bottom) / 2
    draw.text((round(x), round(y)), text, ink, font(size))


def _write_upwards(image: Image.Image, at: tuple[int, int], text: str, ink: tuple[int, int, int], align: float) -> None:
    """Text turned a quarter to the left: at[0] is its left edge, at[1] its upper end (align 0) or its middle (0.5)."""
    length = max(1, round(font(LETTER).getlength(text)))
    strip = Image.new("L", (length, round(1.4 * LETTER)))
    ImageDraw.Draw(strip).text((0, 0), text, 255, font(LETTER))
    turned = strip.transpose(Image.Transpose.ROTATE_90)
    image.paste(ink, (at[0], round(at[1] - align * length)), turned)


def _check(confusion_matrix: np.ndarray, classes: Sequence[str]) -> None:
    expected = (len(classes), len(classes))
    if confusion_matrix.shape != expected or not classes or not np.issubdtype(confusion_matrix.dtype, np.integer):
        raise ValueError(
            f"confusion_matrix is {confusion_matrix.dtype} {confusion_matrix.shape}, expected integers {expected}, "
            f"a row and a column for each of the {len(classes)} classes"
        )
    if (confusion_matrix < 0).any():
        raise ValueError(f"confusion_matrix has the count {confusion_matrix.min()}, expected 0 or more pixels")
