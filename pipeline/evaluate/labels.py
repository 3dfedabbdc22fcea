"""Text and legends in images, drawn by Pillow."""

import unicodedata
from collections.abc import Sequence
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

INK, FAINT_INK, PAPER = (32, 32, 32), (96, 96, 96), (255, 255, 255)
TILE = 32  # side in pixels of the pattern that swatches are cut from: no letter of a legend is higher


@cache
def font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """Pillow's built-in font, with lines `size` pixels high. A Pillow without FreeType has one small size only."""
    return ImageFont.load_default(size if features.check("freetype2") else None)


def fit_text(text: str, size: int, width: float) -> str:
    """The text as `font(size)` can write it on one line of `width` pixels; a longer text is cut and ends in '...'.

    The built-in font is ASCII: accents are dropped, dashes become '-', and characters of other scripts '?'.
    """
    text = unicodedata.normalize("NFKD", " ".join(text.split()).replace("\N{EM DASH}", "-").replace("\N{EN DASH}", "-"))
    text = "".join(letter for letter in text if not unicodedata.combining(letter)).encode("ascii", "replace").decode()
    if font(size).getlength(text) <= width:
        return text
    while text and font(size).getlength(text + "...") > width:
        text = text[:-1].rstrip()
    return text + "..."


def tile(colour: Sequence[int] | np.ndarray) -> np.ndarray:
    """The pattern of a swatch in one colour, (TILE, TILE, 3) uint8."""
    return np.broadcast_to(np.asarray(colour, np.uint8), (TILE, TILE, 3))


def legend(rows: Sequence[Sequence[tuple[np.ndarray, str]]], letter: int, width: int) -> Image.Image:
    """Framed swatches with their names, mode RGB. A row that is longer than `width` is continued on further lines.

    Args:
        rows: for each entry the pattern, (TILE, TILE, 3) uint8, and the name.
        letter: height of the letters in pixels, at most `TILE`.
        width: of the image, in pixels.
    """
    swatch, line = round(0.9 * letter), round(1.6 * letter)
    entries = []  # (left, top, swatch, name)
    y = 0
    for row in rows:
        x = 0
        for pattern, name in row:
            name = fit_text(name, letter, width - 1.4 * letter)
            length = round(1.4 * letter + font(letter).getlength(name))
            if x > 0 and x + length > width:
                x, y = 0, y + line
            entries.append((x, y, pattern[:swatch, :swatch], name))
            x += length + round(1.5 * letter)
        y += line + letter // 4

    image = Image.new("RGB", (width, y - line + letter), PAPER)
    draw = ImageDraw.Draw(image)
    for x, y, pattern, name in entries:
        top = y + round(0.2 * letter)  # centred on the small letters
        image.paste(Image.fromarray(pattern), (x, top))
        draw.rectangle((x, top, x + swatch - 1, top + swatch - 1), outline=FAINT_INK)
        draw.text((x + 1.4 * letter, y), name, INK, font(letter))
    return image
