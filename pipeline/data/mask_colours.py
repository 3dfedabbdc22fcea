"""Compares the palettes of masks: an index that has other colours in other files may mean another class there.

Colours are not used otherwise. A tool that draws for another list of classes, or that turns colours into a palette of
its own, writes indices that are valid and wrong; its palette is the only sign of that.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from pipeline.data.image_files import open_image
from pipeline.data.layout import MASKS
from pipeline.data.voc import Example
from pipeline.runtime.text import enumerated

Colour = tuple[int, int, int]  # red, green, blue, 0 to 255
COLUMNS = 6  # of the table of `disagreements`


def mask_colours(path: Path, labels: Iterable[int]) -> dict[int, Colour]:
    """The colour of each of these labels in the palette of a mask; empty for a mask without a palette.

    Labels beyond the end of a short palette have no colour.

    Raises:
        OSError, SyntaxError, ValueError: it is not a PNG.
    """
    with open_image(path, ("PNG",)) as opened:
        if opened.mode != "P" or opened.palette is None:
            return {}
        palette = bytes(opened.palette.palette)  # as in the file, since no pixel is decoded yet
    known = (label for label in labels if 3 * label + 3 <= len(palette))
    return {label: (red, green, blue) for label in known for red, green, blue in [palette[3 * label :][:3]]}


def disagreements(colours: Sequence[Mapping[int, Colour]]) -> np.ndarray:
    """The labels that have several colours, (n, 6) int64: label, red, green, blue, first example, number of examples.

    By label, the commonest colour of each first.

    Args:
        colours: of each example, from `mask_colours`.
    """
    found: dict[int, dict[Colour, list[int]]] = {}  # label -> colour -> first example, number of examples
    for place, of_mask in enumerate(colours):
        for label, colour in of_mask.items():
            found.setdefault(label, {}).setdefault(colour, [place, 0])[1] += 1
    rows = [
        [label, *colour, *counted]
        for label, by_colour in sorted(found.items())
        if len(by_colour) > 1
        for colour, counted in sorted(by_colour.items(), key=lambda item: (-item[1][1], item[1][0]))
    ]
    return np.array(rows, np.int64).reshape(-1, COLUMNS)


def colour_warning(table: np.ndarray, examples: Sequence[Example], classes: Sequence[str]) -> str | None:
    """The warning about labels with several colours, if there are any; it names two files for each label.

    Args:
        table: from `disagreements`.
    """
    labels = list(dict.fromkeys(table[:, 0].tolist()))
    if not labels:
        return None
    told = []
    for label in labels:
        one, other = (
            f"#{red:02x}{green:02x}{blue:02x} in {MASKS}/{examples[place].id}{examples[place].mask.suffix}"
            for _, red, green, blue, place, _ in table[table[:, 0] == label][:2].tolist()
        )
        told.append(f"index {label} ({classes[label]}) is {one} and {other}")
    return (
        f"palettes disagree: {enumerated(told, 3)}; colours are not used, indices are: "
        "look whether these files mean the same classes by them"
    )
