"""A sheet that shows what training sees: crops next to their masks, the classes in them, and the sizes of images."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from pipeline.config.schema import Config
from pipeline.data.classes import Classes
from pipeline.data.crops import TrainingCrops
from pipeline.data.palette import VOID
from pipeline.data.prepare import Dataset
from pipeline.evaluate.labels import FAINT_INK, INK, PAPER, fit_text, font
from pipeline.evaluate.overlay import blend, hatch

PANEL, PAIRS = 208, 3  # pixels: side of a crop as shown; pairs of crop and mask in a row
MARGIN, GAP, LETTER = 20, 10, 14  # pixels: around the sheet, between panels, height of letters
LINE = 20  # pixels: height of a row of the table
WIDTH = PAIRS * (2 * PANEL + GAP) + (PAIRS - 1) * 2 * GAP  # pixels, between the margins
MOST_CLASSES = 40  # rows of the table
COLUMNS = ("class", "train images with it", "share of their pixels", "crops with it", "share of crops' pixels")
COLUMN_ENDS = (0.26, 0.44, 0.62, 0.8, 1.0)  # right ends of the columns, as shares of the width


def class_rows(crops: TrainingCrops, classes: Classes, class_pixels: np.ndarray) -> list[tuple[int, list[str]]]:
    """For each class its index, and a cell for each of `COLUMNS`.

    Args:
        class_pixels: (examples, classes) int64, of the training masks.
    """
    images, pixels = (class_pixels > 0).sum(axis=0), class_pixels.sum(axis=0)
    shares = pixels / max(pixels.sum(), 1)
    return [
        (
            index,
            [
                name,
                str(images[index]),
                percent(shares[index]),
                percent(crops.with_class[index]),
                percent(crops.shares[index]),
            ],
        )
        for index, name in enumerate(classes.names)
    ]


def percent(share: float) -> str:
    """A share with as many digits as it deserves; a small one that is not zero does not look like zero."""
    if 0 < share < 0.0001:
        return "< 0.01 %"
    return f"{share:.2%}".replace("%", " %") if share < 0.01 else f"{share:.1%}".replace("%", " %")


def describe_sizes(sizes: np.ndarray) -> str:
    """The sizes of images in words, width first as people say it.

    Args:
        sizes: (images, 2) height and width in pixels.
    """
    found, counts = np.unique(sizes, axis=0, return_counts=True)
    if len(found) == 1:
        return f"all {found[0][1]}x{found[0][0]} px"
    areas = found.prod(axis=1)
    common, small, large = found[counts.argmax()], found[areas.argmin()], found[areas.argmax()]
    return (
        f"{len(found)} sizes from {small[1]}x{small[0]} to {large[1]}x{large[0]} px, "
        f"most often {common[1]}x{common[0]} ({counts.max()} of {len(sizes)})"
    )


def describe(crops: TrainingCrops, dataset: Dataset, config: Config) -> list[str]:
    """What crops are made of, in lines."""
    counts = ", ".join(f"{len(examples)} {split}" for split, examples in dataset.splits.items())
    scaled = "" if config.long_side is None else f", scaled to a long side of {config.long_side} px before cropping"
    return [
        f"{counts} images; training images: {describe_sizes(dataset.sizes('train'))}{scaled}",
        f"the first {len(crops.images)} of {crops.count} crops that were counted; void is {percent(crops.void_share)} "
        "of the crops' pixels",
    ]


def crop_sheet(crops: TrainingCrops, dataset: Dataset, config: Config) -> Image.Image:
    """The sheet, mode RGB: the crops, each next to itself with its mask over it, then the table of classes.

    Void is hatched, also where a crop reaches beyond its image.
    """
    classes, class_pixels = Classes.of(config.dataset), dataset.class_pixels("train")
    heading = f"{config.dataset.name}: training crops of {config.image_size} px"
    notes = describe(crops, dataset, config)
    rows = class_rows(crops, classes, class_pixels)
    listed = sorted(rows, key=lambda row: -class_pixels[:, row[0]].sum())[:MOST_CLASSES]
    lines = -(-len(crops.images) // PAIRS)
    top = MARGIN + 30 + LINE * len(notes)
    table_top = top + lines * (PANEL + 2 * GAP)
    left_out = len(rows) - len(listed)
    height = table_top + LINE * (len(listed) + 1 + bool(left_out)) + MARGIN
    sheet = Image.new("RGB", (WIDTH + 2 * MARGIN, height), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - 4), fit_text(heading, 20, WIDTH), INK, font(20))
    for number, note in enumerate(notes):
        draw.text((MARGIN, MARGIN + 24 + LINE * number), fit_text(note, LETTER, WIDTH), FAINT_INK, font(LETTER))
    for number, (image, mask) in enumerate(zip(crops.images, crops.masks, strict=True)):
        left = MARGIN + number % PAIRS * (2 * PANEL + 3 * GAP)
        place = top + number // PAIRS * (PANEL + 2 * GAP)
        _paste_pair(sheet, (left, place), image, mask, classes)
    _draw_row(draw, table_top, COLUMNS, FAINT_INK)
    for number, (index, cells) in enumerate(listed, start=1):
        y = table_top + LINE * number
        draw.rectangle((MARGIN, y + 3, MARGIN + 13, y + 16), classes.colours[index], FAINT_INK)
        _draw_row(draw, y, cells, INK)
    if left_out:
        text = f"and {left_out} more with fewer pixels"
        draw.text((MARGIN + 22, table_top + LINE * (len(listed) + 1)), text, FAINT_INK, font(LETTER))
    return sheet


def _paste_pair(
    sheet: Image.Image, corner: tuple[int, int], image: np.ndarray, mask: np.ndarray, classes: Classes
) -> None:
    """Put a crop, and itself with its mask over it, next to each other.

    Args:
        corner: left and top of the pair.
        image: (crop, crop, 3) uint8.
        mask: (crop, crop) uint8.
    """
    side, (left, top) = (PANEL, PANEL), corner
    shown = np.asarray(Image.fromarray(image).resize(side, Image.Resampling.BICUBIC))
    labels = np.asarray(Image.fromarray(mask).resize(side, Image.Resampling.NEAREST))
    sheet.paste(Image.fromarray(shown), (left, top))
    over = hatch(blend(shown, labels, classes), labels == VOID)
    sheet.paste(Image.fromarray(over), (left + PANEL + GAP // 2, top))


def _draw_row(draw: ImageDraw.ImageDraw, y: int, cells: Sequence[str], ink: tuple[int, int, int]) -> None:
    """Write the cells of a row: the first to the left, behind the swatch, the others to the right of their columns."""
    first, *numbers = cells
    draw.text((MARGIN + 22, y), fit_text(first, LETTER, COLUMN_ENDS[0] * WIDTH - 22), ink, font(LETTER))
    for text, end in zip(numbers, COLUMN_ENDS[1:], strict=True):
        draw.text((MARGIN + round(end * WIDTH) - font(LETTER).getlength(text), y), text, ink, font(LETTER))
