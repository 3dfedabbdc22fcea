"""A sheet of twelve images, each next to itself with its mask over it: a look before anything is trained."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pipeline.data.classes import Classes
from pipeline.data.fixed_choice import smallest_hashes
from pipeline.data.image_files import open_image, read_index_mask
from pipeline.data.palette import VOID
from pipeline.evaluate.labels import FAINT_INK, PAPER, fit_text, font, legend, tile
from pipeline.evaluate.overlay import blend, hatch

COUNT, COLUMNS = 12, 3
PANEL, GAP, LETTER = 240, 10, 15  # pixels: side of a panel, between panels, height of letters


def choose(ids: Sequence[str], present: np.ndarray) -> list[int]:
    """The places of twelve images that show as many classes as can be, the rarest first; else those of smallest hash.

    Args:
        present: (images, classes) bool.
    """
    order = [place for _, place in sorted(zip(_ranks(ids), range(len(ids)), strict=True))]
    chosen: list[int] = []
    for label in np.argsort(present.sum(axis=0), kind="stable").tolist():
        if len(chosen) < COUNT and present[:, label].any() and not present[chosen, label].any():
            chosen.append(next(place for place in order if present[place, label]))
    chosen += [place for place in order if place not in chosen][: COUNT - len(chosen)]
    return chosen


def _ranks(ids: Sequence[str]) -> list[int]:
    place = {name: rank for rank, name in enumerate(smallest_hashes(ids, len(ids)))}
    return [place[name] for name in ids]


def contact_sheet(examples: Sequence[tuple[str, Path, Path]], classes: Classes) -> Image.Image:
    """The sheet, mode RGB.

    Args:
        examples: caption, image and mask of each.
    """
    columns = min(COLUMNS, len(examples))
    rows = -(-len(examples) // columns)
    cell, line = 2 * PANEL + GAP // 2, round(1.5 * LETTER)
    width = columns * (cell + 2 * GAP)
    shown: set[int] = set()
    tiles = []
    for caption, image, mask in examples:
        shown_image, labels = _thumbnail(image, mask)
        shown |= set(np.unique(labels).tolist())
        tiles.append((caption, shown_image, hatch(blend(shown_image, labels, classes), labels == VOID)))
    entries = [
        (tile(PAPER if index == classes.background else classes.colours[index]), classes.names[index])
        for index in sorted(shown - {VOID})
    ]
    if VOID in shown:
        entries.append((hatch(tile((128, 128, 128)), np.ones((32, 32), bool)), "void"))
    below = legend([entries], LETTER, width - 2 * GAP)
    sheet = Image.new("RGB", (width, rows * (PANEL + line + GAP) + below.height + 2 * GAP), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (caption, *panels) in enumerate(tiles):
        left = (number % columns) * (cell + 2 * GAP) + GAP
        top = (number // columns) * (PANEL + line + GAP) + GAP
        draw.text((left, top), fit_text(caption, LETTER, cell), FAINT_INK, font(LETTER))
        for place, panel in enumerate(panels):
            sheet.paste(Image.fromarray(panel), (left + place * (PANEL + GAP // 2), top + line))
    sheet.paste(below, (GAP, sheet.height - below.height - GAP))
    return sheet


def _thumbnail(image: Path, mask: Path) -> tuple[np.ndarray, np.ndarray]:
    """The image, (height, width, 3) uint8, and its mask at the size of a panel, small ones enlarged without blur."""
    with open_image(image) as opened:
        shown_image = opened.convert("RGB")
    labels = Image.fromarray(read_index_mask(mask))
    scale = PANEL / max(shown_image.size)
    width, height = (max(1, round(side * scale)) for side in shown_image.size)
    smooth = Image.Resampling.LANCZOS if scale < 1 else Image.Resampling.NEAREST
    return (
        np.asarray(shown_image.resize((width, height), smooth)),
        np.asarray(labels.resize((width, height), Image.Resampling.NEAREST)),
    )
