"""What all matplotlib figures share: one style, names reduced to what the font can draw, and reproducible pixels."""

import contextlib
import unicodedata
from collections.abc import Iterator
from functools import cache

import numpy as np
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import findfont, get_font
from PIL import Image

FONT = "DejaVu Sans"  # comes with matplotlib
INK, FAINT_INK, GRID = "#202020", "#606060", "#e2e2e2"


@contextlib.contextmanager
def figure_style() -> Iterator[None]:
    """Make and draw figures in the project's style, whatever a user's matplotlibrc says."""
    with rc_context():
        rcdefaults()
        rcParams.update({
            "font.family": FONT,
            "font.size": 10,
            "text.parse_math": False,  # a name may contain dollar signs
            "text.color": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#888888",
            "axes.labelcolor": "#444444",
            "xtick.color": "#444444",
            "ytick.color": "#444444",
            "grid.color": GRID,
        })  # fmt: skip
        yield


def to_image(figure: Figure) -> Image.Image:
    """The figure's pixels, mode RGB: without the metadata that `savefig` writes, so equal figures give equal files."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    pixels = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    return Image.fromarray(pixels[..., :3])


def drawable(text: str, longest: int) -> str:
    """The text on one line of at most `longest` characters, with '?' for each character that the font does not have."""
    text = unicodedata.normalize("NFC", " ".join(text.split()))
    text = "".join(letter if letter.isprintable() and ord(letter) in _characters() else "?" for letter in text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


@cache
def _characters() -> frozenset[int]:
    return frozenset(get_font(findfont(FONT)).get_charmap())
