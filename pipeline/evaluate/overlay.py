"""Images of predictions: class colours over the photograph, and a sheet that compares a prediction with the truth."""

import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from pipeline.data.palette import VOID, voc_palette

# Three of the colours that Okabe and Ito chose to be told apart with any kind of colour vision ("Color Universal
# Design", 2008). None is grey, so on a grey photograph a coloured pixel is a wrong one and nothing else.
MISSED, FALSE, CONFUSED = (213, 94, 0), (86, 180, 233), (240, 228, 66)
LEGEND_OF_ERRORS = {MISSED: "missed object", FALSE: "false object", CONFUSED: "confused class"}
LEGEND_OF_VOID = "void, not scored"

SMALL_WIDTH, LONG_SIDE = 256, 640  # pixels: small images are enlarged towards the one, long ones shrunk to the other
MARGIN, GAP, NARROWEST = 20, 12, 176  # pixels: around the sheet, between columns, a column's least width
INK, FAINT_INK, PAPER = (32, 32, 32), (96, 96, 96), (255, 255, 255)
TILE = 32  # side in pixels of the pattern that swatches are cut from: no letter of the legend is higher


def blend(image: np.ndarray, mask: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """The photograph with the class colours over it, (height, width, 3) uint8.

    `image` is (height, width, 3) uint8 RGB, `mask` (height, width) uint8 class indices, `opacity` 0 (photograph) to
    1 (colour). Background (0) and void (255) stay the photograph, to the bit; every other region gets a one-pixel
    outline in its full colour along its inside. Raises ValueError on other shapes, dtypes or opacities.
    """
    _check(image, mask=mask)
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity}, expected 0 to 1")
    colours = voc_palette()[mask]  # (height, width, 3)
    coloured = (mask != 0) & (mask != VOID)
    mixed = np.rint(image * (1 - opacity) + colours * opacity).astype(np.uint8)
    blended = np.where(coloured[..., None], mixed, image)
    return np.where((coloured & _edges(mask))[..., None], colours, blended)


def error_colours(truth: np.ndarray, prediction: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels are wrong, (height, width) bool, and the colour of their kind, (height, width, 3) uint8.

    Both masks are (height, width) uint8 class indices. `MISSED`: an object predicted as background (0); `FALSE`: the
    reverse; `CONFUSED`: one object's class for another's. Where the truth is void (255) nothing is wrong.
    """
    wrong = (truth != prediction) & (truth != VOID)
    object_colours = np.where((prediction == 0)[..., None], MISSED, CONFUSED)
    return wrong, np.where((truth == 0)[..., None], FALSE, object_colours).astype(np.uint8)


def panel_size(height: int, width: int) -> tuple[int, int]:
    """Height and width in pixels that an image is shown at.

    Narrow images are enlarged by the integer that brings them nearest to `SMALL_WIDTH`, as long as neither side
    passes `LONG_SIDE`; images longer than `LONG_SIDE` are shrunk to it; others keep their size.
    """
    long_side = max(height, width)
    if long_side > LONG_SIDE:
        return max(1, round(height * LONG_SIDE / long_side)), max(1, round(width * LONG_SIDE / long_side))
    factor = max(1, min(round(SMALL_WIDTH / width), LONG_SIDE // long_side))
    return height * factor, width * factor


def panel_boxes(height: int, width: int, panels: int) -> list[tuple[int, int, int, int]]:
    """Where `comparison` puts the panels of an image of this size: (left, top, right, bottom) each, in pixels."""
    panel_height, panel_width = panel_size(height, width)
    column, top = max(panel_width, NARROWEST), MARGIN + round(3.9 * _letter(panel_width))  # heading, caption, air
    lefts = [MARGIN + number * (column + GAP) for number in range(panels)]
    return [(left, top, left + panel_width, top + panel_height) for left in lefts]


def comparison(
    image: np.ndarray, truth: np.ndarray | None, prediction: np.ndarray, classes: Sequence[str], heading: str
) -> Image.Image:
    """A sheet, mode RGB: photograph | truth | prediction | errors, under a heading and over a legend.

    `image` is (height, width, 3) uint8 RGB; `truth` and `prediction` are (height, width) uint8 class indices, `classes`
    their names in index order. Void in the truth is hatched and never an error. Without a truth the sheet shows
    photograph | prediction. Masks are scaled by nearest neighbour, so on a shrunk panel (long side over `LONG_SIDE`)
    an error of few pixels can fall between the samples. Text too long for the sheet is cut.
    Raises ValueError on other shapes or dtypes, and on an index without a name.
    """
    masks = {"prediction": prediction} if truth is None else {"truth": truth, "prediction": prediction}
    _check(image, **masks)
    present = sorted(
        {(name, int(index)) for name, mask in masks.items() for index in np.unique(mask)} - {("truth", VOID)}
    )
    for name, index in present:
        if index >= len(classes):
            raise ValueError(f"{name} has the class index {index}, expected 0 to {len(classes) - 1}")

    height, width = panel_size(*image.shape[:2])
    photograph = np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.LANCZOS))
    shown = {
        name: np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST))
        for name, mask in masks.items()
    }
    panels = {"photograph": photograph} | {name: blend(photograph, mask) for name, mask in shown.items()}
    # Background has no colour over the photograph; its swatch is an empty frame.
    class_colours = {index: voc_palette()[index] if index else PAPER for _, index in present}
    legend = [[(_tile(colour), classes[index]) for index, colour in sorted(class_colours.items())]]
    if truth is not None:
        void = shown["truth"] == VOID
        grey = np.asarray(Image.fromarray(photograph).convert("L"))[..., None].repeat(3, axis=2)  # (height, width, 3)
        wrong, colours = error_colours(shown["truth"], shown["prediction"])
        panels["truth"] = _hatched(panels["truth"], void)
        panels["errors"] = np.where(wrong[..., None], colours, _hatched(grey // 2 + 16, void))
        legend.append([(_tile(colour), name) for colour, name in LEGEND_OF_ERRORS.items()])
        if (truth == VOID).any():
            legend[1].append((_hatched(_tile((128, 128, 128)), np.ones((TILE, TILE), bool)), LEGEND_OF_VOID))
    return _sheet(panels, panel_boxes(image.shape[0], image.shape[1], len(panels)), legend, heading)


def to_palette_png(mask: np.ndarray) -> Image.Image:
    """A (height, width) uint8 index mask as a mode 'P' image: indices inside, VOC's colours to the eye.

    Raises ValueError on another shape or dtype.
    """
    _check(None, mask=mask)
    image = Image.fromarray(mask)
    image.putpalette(voc_palette().tobytes())  # turns mode L into P and leaves the indices as they are
    return image


def write_png(path: Path, image: Image.Image) -> None:
    """Write an image as PNG and make its folder where missing. Equal images give equal bytes.

    Level 5 takes half of the time of zlib's own level 6, for files 2 % larger.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, format="PNG", compress_level=5)


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font, lines `size` pixels high. A Pillow without FreeType has it as one small bitmap only."""
    return ImageFont.load_default(size if features.check("freetype2") else None)


def lettering(text: str, size: int, width: float) -> str:
    """The text as `font(size)` can write it on a line of `width` pixels: cut, with '...' at its end, if it is longer.

    The built-in font is ASCII: accents are dropped, long dashes become '-' and other scripts '?'.
    """
    text = unicodedata.normalize("NFKD", " ".join(text.split()).replace("\N{EM DASH}", "-").replace("\N{EN DASH}", "-"))
    text = "".join(letter for letter in text if not unicodedata.combining(letter)).encode("ascii", "replace").decode()
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(text + "...") > width:
        text = text[:-1].rstrip()
    return text + "..."


def _sheet(
    panels: dict[str, np.ndarray],
    boxes: list[tuple[int, int, int, int]],
    legend: list[list[tuple[np.ndarray, str]]],
    heading: str,
) -> Image.Image:
    """Heading, captioned panels and legend on white paper. A legend row that is too long goes on in a further line."""
    panel_width = boxes[0][2] - boxes[0][0]
    letter = _letter(panel_width)
    column, (_, top, _, bottom) = max(panel_width, NARROWEST), boxes[0]
    width = boxes[-1][0] + column - MARGIN  # between the margins
    swatch, line = round(0.9 * letter), round(1.6 * letter)

    entries = []  # (left, top, swatch, name)
    y = bottom + letter
    for row in legend:
        x = MARGIN
        for tile, name in row:
            name = lettering(name, letter, width - 1.4 * letter)
            length = round(1.4 * letter + font(letter).getlength(name))
            if x > MARGIN and x + length > MARGIN + width:
                x, y = MARGIN, y + line
            entries.append((x, y, tile[:swatch, :swatch], name))
            x += length + round(1.5 * letter)
        y += line + letter // 4

    sheet = Image.new("RGB", (width + 2 * MARGIN, y - line + letter + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    title = round(1.4 * letter)
    draw.text((MARGIN, MARGIN - letter // 4), lettering(heading, title, width), INK, font(title))
    for (name, panel), (left, _, _, _) in zip(panels.items(), boxes, strict=True):
        draw.text((left, top - round(1.45 * letter)), lettering(name, letter, column), FAINT_INK, font(letter))
        sheet.paste(Image.fromarray(panel), (left, top))
    for x, y, tile, name in entries:
        swatch_top = y + round(0.2 * letter)  # centred on the small letters
        sheet.paste(Image.fromarray(tile), (x, swatch_top))
        draw.rectangle((x, swatch_top, x + swatch - 1, swatch_top + swatch - 1), outline=FAINT_INK)
        draw.text((x + 1.4 * letter, y), name, INK, font(letter))
    return sheet


def _letter(panel_width: int) -> int:
    """Height of the letters: grows with the panels, as a wide sheet is mostly looked at shrunk to a screen's width."""
    return min(24, max(14, round(0.042 * panel_width)))


def _tile(colour: Sequence[int] | np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.asarray(colour, np.uint8), (TILE, TILE, 3))


def _hatched(image: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Diagonal stripes, light and dark grey, half-transparently where `where` (height, width) is true."""
    rows, columns = np.indices(where.shape)
    stripes = np.where((rows + columns) % 8 < 4, 215, 120)[..., None]
    return np.where(where[..., None], (image + 3 * stripes) // 4, image).astype(np.uint8)


def _edges(mask: np.ndarray) -> np.ndarray:
    """Pixels with another index above, below, left or right of them, (height, width) bool."""
    edges = np.zeros(mask.shape, bool)
    across, down = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    edges[1:] |= down
    edges[:-1] |= down
    return edges


def _check(image: np.ndarray | None, **masks: np.ndarray) -> None:
    if image is not None and (image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size):
        raise ValueError(f"image is {image.dtype} {image.shape}, expected uint8 (height, width, 3)")
    for name, mask in masks.items():
        expected = mask.shape if image is None else image.shape[:2]
        if mask.dtype != np.uint8 or mask.ndim != 2 or mask.shape != expected or not mask.size:
            size = "(height, width)" if image is None else f"{expected}, the image's height and width"
            raise ValueError(f"{name} is {mask.dtype} {mask.shape}, expected uint8 {size}")
