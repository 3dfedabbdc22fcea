"""Which values or colours the masks of a source hold."""

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.convert.mask_files import read_stored
from pipeline.convert.parallel import Workers
from pipeline.data.image_files import UNDECODABLE, undecodable
from pipeline.data.palette import VOID
from pipeline.runtime.errors import UserError

MOST_DISTINCT = 4096  # values or colours that are counted; more are no labels


@dataclass
class Scan:
    """What the masks hold: pixels, and files, by value or packed colour."""

    values: Counter[int] = field(default_factory=Counter)
    value_files: Counter[int] = field(default_factory=Counter)
    colours: Counter[int] = field(default_factory=Counter)
    colour_files: Counter[int] = field(default_factory=Counter)
    palettes: dict[int, set[int]] = field(default_factory=dict)  # the packed colours of each value in palettes
    coloured: bool = False  # a file has colours, not values
    void_alone: int = 0  # files with 255 besides 0, and nothing else
    void_next_to_others: bool = False  # a file has 255 next to other values than 0
    channels: int = 0  # of files with one for each class, whose values are their numbers; 0: of no file

    def add(self, other: "Scan") -> None:
        """Add what another mask holds."""
        self.values += other.values
        self.value_files += other.value_files
        self.colours += other.colours
        self.colour_files += other.colour_files
        for value, colours in other.palettes.items():
            self.palettes.setdefault(value, set()).update(colours)
        self.coloured |= other.coloured
        self.void_alone += other.void_alone
        self.void_next_to_others |= other.void_next_to_others
        self.channels = max(self.channels, other.channels)

    @property
    def is_grey(self) -> bool:
        """Whether values alone tell the classes apart: no file has a colour besides grey."""
        return not self.coloured or all(key % 0x010101 == 0 for key in self.colours)

    def of(self, by_colour: bool) -> tuple[Counter[int], Counter[int]]:
        """Pixels and files of each colour or value; RGB files of grey alone have values too."""
        if by_colour:
            return self.colours, self.colour_files
        if not self.coloured:
            return self.values, self.value_files
        pixels = Counter({key // 0x010101: count for key, count in self.colours.items()})
        return pixels, Counter({key // 0x010101: count for key, count in self.colour_files.items()})


def scan_mask(root: Path, name: str) -> Scan | str:
    """What one mask holds; or why it cannot be read."""
    try:
        stored = read_stored(root / name)
    except UNDECODABLE as error:
        return undecodable(error)
    coloured = stored.colours is not None and not stored.channels and bool(stored.colours.any())  # not black alone
    found = Scan(coloured=coloured, channels=stored.channels)
    if stored.values is not None:
        found.values, found.value_files = _counted(stored.values)
    elif not coloured:
        found.values, found.value_files = Counter({0: stored.packed().size}), Counter({0: 1})
    if stored.colours is not None:
        found.colours, found.colour_files = _counted(stored.packed())
    elif stored.values is not None and stored.values.dtype == np.uint8:
        keys = stored.keys().tolist()
        for value, count in found.values.items():
            found.colours[keys[value]] += count
            if stored.palette is not None:
                found.palettes[value] = {keys[value]}
        found.colour_files = Counter(dict.fromkeys(found.colours, 1))
    values = set(found.of(False)[0]) if found.is_grey else set()
    found.void_next_to_others = VOID in values and len(values - {0, VOID}) > 0
    found.void_alone = int(VOID in values and not found.void_next_to_others)
    return found


def _counted(keys: np.ndarray) -> tuple[Counter[int], Counter[int]]:
    """Pixels of each key, and 1 for each. By runs of equal pixels, of which masks have few."""
    if keys.dtype == np.uint8:
        pixels_of = {value: count for value, count in enumerate(Image.fromarray(keys).histogram()) if count}
        return Counter(pixels_of), Counter(dict.fromkeys(pixels_of, 1))
    flat = keys.ravel()
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    distinct, places = np.unique(flat[starts], return_inverse=True)
    lengths = np.diff(np.append(starts, len(flat)))
    pixels = np.bincount(places, weights=lengths).astype(np.int64)
    counted = Counter(dict(zip(distinct.tolist(), pixels.tolist(), strict=True)))
    return counted, Counter(dict.fromkeys(counted, 1))


def scan_masks(root: Path, names: Sequence[str], workers: Workers) -> Scan:
    """What all masks hold.

    Args:
        names: of the files, relative to the root.

    Raises:
        UserError: masks cannot be read.
    """
    found, faults = Scan(), []
    scanned = workers.map(functools.partial(scan_mask, root), names, "reading masks")
    for name, result in zip(names, scanned, strict=True):
        if isinstance(result, str):
            faults.append(f"{root / name}: {result}")
        elif found.channels and result.channels not in (0, found.channels):
            faults.append(f"{root / name}: has {result.channels} channels, but others have {found.channels}")
        elif max(len(found.values), len(found.colours)) <= MOST_DISTINCT:
            found.add(result)
    if faults:
        raise UserError(*faults[:20], *([f"and {len(faults) - 20} more like these"] if faults[20:] else []))
    return found
