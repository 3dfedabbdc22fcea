"""Legends that tools put next to masks: which value or colour is which class."""

import csv
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline.convert.source import Files
from pipeline.data.palette import Colour
from pipeline.runtime.errors import UserError

LARGEST = 2**20  # bytes
NAMES = ("labels.txt", "classes.txt", "class_names.txt", "names.txt")
IGNORED = ("__ignore__",)


@dataclass
class Legend:
    """The classes of a legend, by colour or by value, in its order."""

    file: str
    colours: dict[Colour, str] = field(default_factory=dict)
    values: dict[int, str] = field(default_factory=dict)


def find_legend(files: Files) -> Legend | None:
    """The legend in the highest folder of a source; None if it has none.

    Raises:
        UserError: it cannot be read, or legends of several folders disagree.
    """
    found: Legend | None = None
    for path in sorted(files.ending(".txt", ".csv"), key=lambda path: (path.count("/"), path)):
        name = PurePosixPath(path).name.lower()
        reader = READERS.get(name)
        if reader is None:
            continue
        legend = reader(path, _lines(files.root / path))
        if not (legend.colours or legend.values):
            continue
        if found is None:
            found = legend
        elif (found.colours, found.values) != (legend.colours, legend.values) and (
            bool(found.colours) == bool(legend.colours)
        ):
            raise UserError(
                f"{files.root / path}: names other classes than {found.file}; convert the folders one by one, or give "
                "values=… or colours=…"
            )
    return found


def _lines(path: Path) -> list[str]:
    try:
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path}: is too large for a legend; at most {LARGEST >> 20} MB expected")
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as a legend: {error}") from error


def _labelmap(path: str, lines: list[str]) -> Legend:
    """CVAT's: `name:red,green,blue:parts:actions`."""
    legend = Legend(path)
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        if not rest.split(":")[0].strip():  # no colours: the names are in the order of the values
            legend.values[len(legend.values)] = name.strip()
            continue
        legend.colours[_colour(path, line, rest.split(":")[0].split(","))] = name.strip()
    return legend


def _class_columns(path: str, lines: list[str]) -> Legend:
    """`name,r,g,b` with a header, as Kaggle's CamVid has it, or Roboflow's `Pixel Value, Class`."""
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines) if any(cell.strip() for cell in row)]
    legend = Legend(path)
    if not rows:
        return legend
    head = [cell.lower() for cell in rows[0]]
    if len(head) >= 2 and head[0].startswith(("pixel", "value", "id", "index")):
        for row in rows[1:]:
            if len(row) < 2 or not row[0].isdecimal():
                raise UserError(f"{path}: '{','.join(row)}': a value and a class expected")
            legend.values[int(row[0])] = row[1]
    elif len(head) >= 4 and head[1:4] == ["r", "g", "b"]:
        for row in rows[1:]:
            legend.colours[_colour(path, ",".join(row), row[1:4])] = row[0]
    return legend


def _label_colours(path: str, lines: list[str]) -> Legend:
    """CamVid's: `64 128 64<tab>Animal`."""
    legend = Legend(path)
    for line in lines:
        words = line.split()
        if len(words) >= 4:
            legend.colours[_colour(path, line, words[:3])] = " ".join(words[3:])
    return legend


def _names(path: str, lines: list[str]) -> Legend:
    """One name on each line, the first of value 0; labelme's `__ignore__` before them is no class."""
    names = [line.strip() for line in lines if line.strip() and line.strip() not in IGNORED]
    return Legend(path, values=dict(enumerate(names)) if all(len(name) < 100 for name in names) else {})


def _colour(path: str, line: str, parts: list[str]) -> Colour:
    numbers = [int(part) for part in (part.strip() for part in parts) if part.isdecimal() and int(part) < 256]
    if len(numbers) != 3:
        raise UserError(f"{path}: '{line}': a name and three numbers from 0 to 255 expected")
    return numbers[0], numbers[1], numbers[2]


READERS = {
    "labelmap.txt": _labelmap,
    "_classes.csv": _class_columns,
    "class_dict.csv": _class_columns,
    "classes.csv": _class_columns,
    "label_colors.txt": _label_colours,
    **dict.fromkeys(NAMES, _names),
}
