"""A sheet that shows an image next to its masks: photograph, truth, prediction and errors, with a legend."""

import numpy as np
from PIL import Image, ImageDraw

from pipeline.data.classes import Classes
from pipeline.data.palette import VOID
from pipeline.evaluate.labels import FAINT_INK, INK, PAPER, TILE, fit_text, font, legend, tile
from pipeline.evaluate.overlay import CONFUSED, FALSE, MISSED, blend, check_arrays, error_colours, hatch

ERRORS = {MISSED: "missed object", FALSE: "false object", CONFUSED: "confused class"}
VOID_NAME = "void, not scored"

SMALL_WIDTH, LONG_SIDE = 256, 640  # pixels: small images are enlarged towards the one, long ones shrunk to the other
MARGIN, GAP, NARROWEST = 20, 12, 176  # pixels: around the sheet, between columns, least width of a column

Legend = list[list[tuple[np.ndarray, str]]]


def overlay_sheet(
    image: np.ndarray, truth: np.ndarray | None, prediction: np.ndarray, classes: Classes, heading: str
) -> Image.Image:
    """A sheet, mode RGB: photograph | truth | prediction | errors, with a heading above and a legend below.

    Void in the truth is hatched and never an error. Masks are scaled by nearest neighbour, so on a shrunk panel (long
    side over `LONG_SIDE`) an error of few pixels may not be visible. Text too long for the sheet is cut.

    Args:
        image: (height, width, 3) uint8 RGB.
        truth: (height, width) uint8 class indices; None: the sheet shows photograph | prediction.
        prediction: (height, width) uint8 class indices.

    Raises:
        ValueError: an array has another shape or dtype, or a mask has an index without a name.
    """
    masks = {"prediction": prediction} if truth is None else {"truth": truth, "prediction": prediction}
    check_arrays(image, **masks)
    legends = [_class_legend(masks, classes)]
    height, width = panel_size(*image.shape[:2])
    photograph = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    shown = {
        name: np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
        for name, mask in masks.items()
    }
    panels = {"photograph": photograph} | {name: blend(photograph, mask, classes) for name, mask in shown.items()}
    if truth is not None:
        panels["truth"] = hatch(panels["truth"], shown["truth"] == VOID)
        wrong, colours = error_colours(shown["truth"], shown["prediction"], classes.background)
        panels["errors"] = np.where(wrong[..., None], colours, dim(photograph, shown["truth"]))
        legends.append(_error_legend(classes.background is not None, has_void=bool((truth == VOID).any())))
    return _lay_out(panels, panel_boxes(image.shape[0], image.shape[1], len(panels)), legends, heading)


def panel_size(
    height: int, width: int, *, enlarge_to: int = SMALL_WIDTH, long_side: int = LONG_SIDE
) -> tuple[int, int]:
    """Height and width in pixels at which an image is shown.

    Narrow images are enlarged by the integer that brings them closest to a width of `enlarge_to`, as long as neither
    side exceeds `long_side`; images longer than `long_side` are shrunk to it; others keep their size.
    """
    longer = max(height, width)
    if longer > long_side:
        return max(1, round(height * long_side / longer)), max(1, round(width * long_side / longer))
    factor = max(1, min(round(enlarge_to / width), long_side // longer))
    return height * factor, width * factor


def panel_boxes(height: int, width: int, panels: int) -> list[tuple[int, int, int, int]]:
    """Where the panels of an image of this size are on the sheet: (left, top, right, bottom) each, in pixels."""
    panel_height, panel_width = panel_size(height, width)
    column, top = max(panel_width, NARROWEST), MARGIN + round(3.9 * _letter(panel_width))  # below heading and caption
    lefts = [MARGIN + number * (column + GAP) for number in range(panels)]
    return [(left, top, left + panel_width, top + panel_height) for left in lefts]


def _class_legend(masks: dict[str, np.ndarray], classes: Classes) -> list[tuple[np.ndarray, str]]:
    """The classes that occur. A background has no colour over the photograph; its swatch is an empty frame.

    Raises:
        ValueError: an index has no name.
    """
    occurring: set[int] = set()
    for name, mask in masks.items():
        indices = set(np.unique(mask).tolist()) - ({VOID} if name == "truth" else set())
        if nameless := [index for index in sorted(indices) if index >= len(classes.names)]:
            raise ValueError(f"{name} has the class index {nameless[0]}, expected 0 to {len(classes.names) - 1}")
        occurring |= indices
    colours = [PAPER if index == classes.background else colour for index, colour in enumerate(classes.colours)]
    return [(tile(colours[index]), classes.names[index]) for index in sorted(occurring)]


def _error_legend(has_background: bool, has_void: bool) -> list[tuple[np.ndarray, str]]:
    """The kinds of errors: without a background, no object is missed or false."""
    entries = [(tile(colour), name) for colour, name in ERRORS.items() if has_background or colour == CONFUSED]
    if has_void:
        entries.append((hatch(tile((128, 128, 128)), np.ones((TILE, TILE), bool)), VOID_NAME))
    return entries


def dim(photograph: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """What wrong pixels are shown over: the photograph in dim grey, void hatched, (height, width, 3) uint8."""
    grey = np.asarray(Image.fromarray(photograph).convert("L"))[..., None].repeat(3, axis=2)
    return hatch(grey // 2 + 16, truth == VOID)


def _lay_out(
    panels: dict[str, np.ndarray], boxes: list[tuple[int, int, int, int]], legends: Legend, heading: str
) -> Image.Image:
    """Heading, captioned panels and legend on white paper."""
    panel_width = boxes[0][2] - boxes[0][0]
    letter, title = _letter(panel_width), round(1.4 * _letter(panel_width))
    column, (_, top, _, bottom) = max(panel_width, NARROWEST), boxes[0]
    width = boxes[-1][0] + column - MARGIN  # between the margins
    below = legend(legends, letter, width)

    sheet = Image.new("RGB", (width + 2 * MARGIN, bottom + letter + below.height + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((MARGIN, MARGIN - letter // 4), fit_text(heading, title, width), INK, font(title))
    for (name, panel), (left, _, _, _) in zip(panels.items(), boxes, strict=True):
        draw.text((left, top - round(1.45 * letter)), fit_text(name, letter, column), FAINT_INK, font(letter))
        sheet.paste(Image.fromarray(panel), (left, top))
    sheet.paste(below, (MARGIN, bottom + letter))
    return sheet


def _letter(panel_width: int) -> int:
    """Height of the letters in pixels. It grows with the panels: a wide sheet is mostly viewed at a screen's width."""
    return min(24, max(14, round(0.042 * panel_width)))
