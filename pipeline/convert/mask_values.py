"""Which values or colours the masks of a source hold, and which class each of them is."""

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.config.classes import VOC_CLASSES, hexadecimal, voc_colour
from pipeline.convert.legends import Legend
from pipeline.convert.mask_files import Table, colour_of_key, key_of_colour, key_text, read_stored
from pipeline.convert.options import VOID_NAME, Options
from pipeline.convert.parallel import in_parallel
from pipeline.data.image_files import UNDECODABLE, undecodable
from pipeline.data.palette import VOID, Colour
from pipeline.runtime.errors import UserError
from pipeline.runtime.progress import Progress

MOST_DISTINCT = 4096  # values or colours that are counted; more are no labels
MOST_INDICES = 64  # values up to here are taken for class indices although some never occur
SHOWN = 24  # values that a message lists
BACKGROUND, OBJECT = "background", "object"


@dataclass
class Scan:
    """What the masks hold: pixels, and files, by value or packed colour."""

    values: Counter[int] = field(default_factory=Counter)
    value_files: Counter[int] = field(default_factory=Counter)
    colours: Counter[int] = field(default_factory=Counter)
    colour_files: Counter[int] = field(default_factory=Counter)
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


def scan_mask(path: Path) -> Scan | str:
    """What one mask holds; or why it cannot be read."""
    try:
        stored = read_stored(path)
    except UNDECODABLE as error:
        return undecodable(error)
    found = Scan(coloured=stored.colours is not None, channels=stored.channels)
    if stored.values is not None:
        found.values, found.value_files = _counted(stored.values)
    if stored.values is None:
        found.colours, found.colour_files = _counted(stored.packed())
    elif stored.values.dtype == np.uint8:
        keys = stored.keys().tolist()
        for value, count in found.values.items():
            found.colours[keys[value]] += count
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


def scan_masks(paths: Sequence[Path], progress: Progress) -> Scan:
    """What all masks hold.

    Raises:
        UserError: masks cannot be read.
    """
    found, faults = Scan(), []
    for path, result in zip(paths, in_parallel(scan_mask, paths, "reading masks", progress), strict=True):
        if isinstance(result, str):
            faults.append(f"{path}: {result}")
        elif found.channels and result.channels not in (0, found.channels):
            faults.append(f"{path}: has {result.channels} channels, but others have {found.channels}")
        elif max(len(found.values), len(found.colours)) <= MOST_DISTINCT:
            found.add(result)
    if faults:
        raise UserError(*faults[:20], *([f"and {len(faults) - 20} more like these"] if faults[20:] else []))
    return found


@dataclass
class Meaning:
    """What the values or colours of masks mean."""

    table: Table
    classes: list[str]
    colours: list[Colour] | None  # of the classes, where masks have them
    notes: list[str]


def meaning(scan: Scan, options: Options, legend: Legend | None) -> Meaning:
    """Decide what the values or colours mean: as the command line, a legend, or a known convention says.

    Raises:
        UserError: nothing says it; every value or colour is listed, with what to type.
    """
    if options.colours:
        return _named({key_of_colour(colour): name for colour, name in options.colours.items()}, True, options, scan)
    if options.values:
        return _named(dict(options.values), False, options, scan)
    if scan.channels:
        return _of_channels(scan, options, legend)
    if legend is not None and legend.colours and _by_colours(scan, legend):
        names = {key_of_colour(colour): name for colour, name in legend.colours.items()}
        return _named(names, True, options, scan, f"colours as {legend.file} says; colours=… sets others")
    if legend is not None and scan.is_grey:
        names = legend.values or dict(enumerate(legend.colours.values()))
        return _named(names, False, options, scan, f"values as {legend.file} says; values=… sets others")
    if legend is not None and not options.classes:
        options = replace(options, classes=tuple(legend.values.values()))  # names alone, for the colours of PASCAL VOC
    return _guessed(scan, options)


def _of_channels(scan: Scan, options: Options, legend: Legend | None) -> Meaning:
    """The meaning of channels: a class each, in their order; pixels in none of them are background, or else void."""
    count = scan.channels
    between = 0 in scan.of(False)[0]  # pixels that are in no channel
    listed = list((legend.colours or legend.values).values()) if legend is not None else []
    names = list(options.classes) or (listed if len(listed) - count in (0, 1) else _numbered(count + between))
    if len(names) - count not in (0, 1):
        raise UserError(f"classes: {len(names)} names, but the masks have {count} channels; {count} expected, or one "
                        "more for pixels that are in none")  # fmt: skip
    outside = [] if len(names) > count else [VOID_NAME]
    meant = dict(enumerate([*outside, *names]))
    words = f"; pixels in none of them are {meant[0]}" if between else ""
    note = f"masks have {count} channels, of one class each: {_indices([*meant.values()][1:], 1)}{words}"
    return _named(meant, False, options, scan, f"{note}; 'classes=[…]' names them")


def _by_colours(scan: Scan, legend: Legend) -> bool:
    """Whether masks hold the colours of a legend, and not the numbers of its lines."""
    known = {key_of_colour(colour) for colour in legend.colours}
    return not scan.is_grey or set(scan.colours) <= known or not set(scan.of(False)[0]) <= {*range(len(known)), VOID}


def _named(names: dict[int, str], by_colour: bool, options: Options, scan: Scan, note: str | None = None) -> Meaning:
    """The meaning of values or colours with names.

    Raises:
        UserError: masks hold others, or classes= disagrees.
    """
    if not by_colour and not scan.is_grey:
        raise _unknown(scan, True, "the masks hold colours, not values")
    found = list(dict.fromkeys(name for name in names.values() if name != VOID_NAME))
    found.sort(key=lambda name: not is_background(name))
    classes = list(options.classes) or found
    if missing := [name for name in found if name not in classes]:
        key = "colours" if by_colour else "values"
        raise UserError(f"classes: does not have {', '.join(missing)}, which {key} names; add them, or change {key}")
    entries = {key: VOID if name == VOID_NAME else classes.index(name) for key, name in names.items()}
    void = key_of_colour(voc_colour(VOID)) if by_colour else VOID
    notes = [note] if note else []
    if void not in entries and void in scan.of(by_colour)[0]:
        entries[void] = VOID
        text = key_text(void, by_colour)
        notes.append(f"{text} is void, as in PASCAL VOC; name it in {'colours' if by_colour else 'values'}=… if not")
    table = Table(by_colour, tuple(entries.items()), options.tolerance)
    unknown = [key for key in scan.of(by_colour)[0] if key not in entries]
    if options.tolerance is None and unknown:
        raise _unknown(scan, by_colour, f"{len(unknown)} {_kind(by_colour, len(unknown))} of the masks have no class",
                       names)  # fmt: skip
    colours = None
    if by_colour:
        first = {index: colour_of_key(key) for key, index in reversed(entries.items()) if index != VOID}
        colours = [first[index] for index in range(len(classes))] if len(first) == len(classes) else None
    return Meaning(table, classes, colours, notes)


def _guessed(scan: Scan, options: Options) -> Meaning:
    """The meaning by conventions: indices, 0 and one other value, the colours of PASCAL VOC.

    Raises:
        UserError: none of them holds.
    """
    if not scan.is_grey:
        return _voc_colours(scan, options)
    values = sorted(scan.of(False)[0])
    labels = [value for value in values if value != VOID]
    classes = list(options.classes)
    if len(values) == 2 and values[0] == 0 and (not classes or len(classes) == 2) and values[1] != 1:
        names = classes or [BACKGROUND, OBJECT]
        note = f"values 0 and {values[1]} are {names[0]} and {names[1]}; 'values={{0: {names[0]}, …}}' sets others"
        return _named({0: names[0], values[1]: names[1]}, False, options, scan, note)
    if len(labels) > 1 and scan.void_alone and not scan.void_next_to_others:
        raise _unknown(
            scan, False, f"255 is in {scan.void_alone} masks, next to 0 alone, so it may be void or a class: void "
            "there would hide what is labelled"
        )  # fmt: skip
    if labels and labels[-1] < (len(classes) or MOST_INDICES):
        names = classes or ([BACKGROUND, OBJECT] if labels[-1] < 2 else _numbered(labels[-1] + 1))
        note = f"values are class indices: {_indices(names)}; 'classes=[…]' names them"
        return _named(dict(enumerate(names)), False, options, scan, None if classes else note)
    if classes and len(classes) == len(labels):
        pairs = ", ".join(f"{value} {name}" for value, name in zip(labels, classes, strict=True))
        note = f"values are the classes in their order: {pairs}"
        return _named(dict(zip(labels, classes, strict=True)), False, options, scan, f"{note}; values=… sets others")
    if classes and len(classes) == len(values):
        return _named(dict(zip(values, classes, strict=True)), False, options, scan,
                      "values are the classes in their order; values=… sets others")  # fmt: skip
    raise _unknown(scan, False, "the values of the masks are no class indices")


def _voc_colours(scan: Scan, options: Options) -> Meaning:
    """Colours of PASCAL VOC as the indices that they are of."""
    count = len(options.classes) or VOC_CLASSES
    indices = {key_of_colour(voc_colour(index)): index for index in range(min(count, VOC_CLASSES))}
    void = key_of_colour(voc_colour(VOID))
    if not set(scan.colours) <= {*indices, void}:
        raise _unknown(scan, True, "the masks hold colours, and no legend says of which classes")
    highest = max(indices[key] for key in scan.colours if key != void)
    names = list(options.classes) or ([BACKGROUND, OBJECT] if highest < 2 else _numbered(highest + 1))
    entries = {key: names[index] for key, index in indices.items() if index < len(names)}
    note = f"colours are those of PASCAL VOC: {_indices(names)}; classes=… names them, colours=… sets others"
    return _named(entries, True, options, scan, note)


def is_background(name: str) -> bool:
    """Whether a class is called background, also as labelme and CVAT write it."""
    return name.strip("_ ").casefold() == BACKGROUND


def _numbered(count: int) -> list[str]:
    return [BACKGROUND, *(f"class_{index}" for index in range(1, count))]


def _indices(names: Sequence[str], first: int = 0) -> str:
    shown = [f"{index} {name}" for index, name in enumerate(names, first)]
    return ", ".join(shown if len(shown) <= 6 else [*shown[:3], "…", shown[-1]])


def _kind(by_colour: bool, count: int) -> str:
    return ("colour" if by_colour else "value") + ("s" if count != 1 else "")


def _unknown(scan: Scan, by_colour: bool, what: str, names: dict[int, str] | None = None) -> UserError:
    """All values or colours with counts, and what to type to name them."""
    pixels, files = scan.of(by_colour)
    every, total = pixels.most_common(), sum(pixels.values())
    given = names or {}
    listed = [
        f"  {key_text(key, by_colour):>7}  {files[key]} masks, {100 * count / total:.4g} % of the pixels"
        + (f", {given[key]}" if key in given else "")
        for key, count in every[:SHOWN]
    ]
    if len(every) > SHOWN:
        listed.append(f"  and {len(every) - SHOWN} more")
    key_name = "colours" if by_colour else "values"
    if (main := _main(every, given, total)) and len(every) > 2 * len(main):
        example = _example([*main], given, by_colour)
        to_do = (
            f"{len(main)} of them cover {100 * sum(pixels[key] for key in main) / total:.1f} %: the others may be "
            f"blurred edges (anti-aliasing, scaling, JPEG). Better export the masks again without; tolerance=… takes "
            f"each pixel for the nearest of those named: {shlex.quote(f'{key_name}={example}')} tolerance=128"
        )
    else:
        to_do = f"say what they are, with your names: {shlex.quote(f'{key_name}={_example([k for k, _ in every[:SHOWN]], given, by_colour)}')}"  # noqa: E501
    return UserError(f"{what}; they hold:", *listed, to_do)


def _main(every: Sequence[tuple[int, int]], given: dict[int, str], total: int) -> list[int]:
    """The few values that cover nearly everything, if there are such: those with a name, or those of many pixels."""
    main = [key for key, count in every if (key in given if given else count > total / 200)]
    return main if len(main) <= SHOWN and sum(c for k, c in every if k in main) > 0.9 * total else []


def _example(keys: Iterable[int], given: dict[int, str], by_colour: bool) -> str:
    void = key_of_colour(voc_colour(VOID)) if by_colour else VOID
    parts = []
    for number, key in enumerate(sorted(keys)):
        fallback = BACKGROUND if key == 0 else VOID_NAME if key == void and len(given) > 1 else f"class_{number}"
        name = given.get(key, fallback)
        text = f'"{hexadecimal(colour_of_key(key))}"' if by_colour else str(key)
        parts.append(f"{text}: {name}")
    return "{" + ", ".join(parts) + "}"
