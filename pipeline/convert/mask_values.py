"""Which class each value or colour of the masks of a source is."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.config.classes import VOC_CLASSES, voc_colour
from pipeline.convert.legends import Legend
from pipeline.convert.mask_files import Table, colour_of_key, key_of_colour, key_text
from pipeline.convert.mask_scan import Scan
from pipeline.convert.options import VOID_NAME, Options
from pipeline.convert.unknown_values import BACKGROUND, OBJECT, kind_of, unknown_labels
from pipeline.data.palette import VOID, Colour
from pipeline.runtime.errors import UserError

MOST_INDICES = 64  # values up to here are taken for class indices although some never occur


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
        _require_one_palette(options, scan)
        names = legend.values or dict(enumerate(legend.colours.values()))
        if list(names) == [0, 1] and _is_0_and_another(scan):
            return _two_values(list(names.values()), options, scan)
        if list(names) == [0, 1] and _is_0_and_255_with_edges(scan):
            given = {0: names[0], VOID: names[1]}
            what = f"{len(set(scan.of(False)[0]) - set(given))} values of the masks have no class"
            raise unknown_labels(options, scan, False, what, given)
        if VOID not in names:
            _require_plain_void(options, scan)
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
        raise unknown_labels(options, scan, True, "the masks hold colours, not values")
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
        what = f"{len(unknown)} {kind_of(by_colour, len(unknown))} of the masks have no class"
        raise unknown_labels(options, scan, by_colour, what, names)
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
    _require_one_palette(options, scan)
    values = sorted(scan.of(False)[0])
    labels = [value for value in values if value != VOID]
    classes = list(options.classes)
    if len(classes) in (0, 2) and _is_0_and_another(scan):
        return _two_values(classes or [BACKGROUND, OBJECT], options, scan)
    _require_plain_void(options, scan)
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
    raise unknown_labels(options, scan, False, "the values of the masks are no class indices")


def _is_0_and_another(scan: Scan) -> bool:
    """Whether masks hold two values as many tools write them for two classes, such as 0 and 255."""
    values = sorted(scan.of(False)[0])
    return len(values) == 2 and values[0] == 0 and values[1] != 1


def _is_0_and_255_with_edges(scan: Scan) -> bool:
    """Whether masks of 0 and 255 seem to have blurred edges, whose values a tolerance would take for void."""
    pixels = scan.of(False)[0]
    others = [value for value, _ in pixels.most_common() if value != 0]
    return others[:1] == [VOID] and not set(others) <= {1, VOID}


def _two_values(names: Sequence[str], options: Options, scan: Scan) -> Meaning:
    value = max(scan.of(False)[0])
    note = f"values 0 and {value} are {names[0]} and {names[1]}; 'values={{0: {names[0]}, …}}' sets others"
    return _named({0: names[0], value: names[1]}, False, options, scan, note)


def _require_one_palette(options: Options, scan: Scan) -> None:
    """Refuse indices whose colours differ from file to file: image editors number them in each by itself.

    Raises:
        UserError: a value has several colours.
    """
    several = {value: colours for value, colours in sorted(scan.palettes.items()) if len(colours) > 1}
    if several:
        value, colours = next(iter(several.items()))
        shown = ", ".join(key_text(key, True) for key in sorted(colours)[:3])
        raise unknown_labels(options, scan, True,
                             f"the palettes of the masks disagree (value {value} is {shown}), so values may be no "
                             "class indices (values=… takes them for such)")  # fmt: skip


def _require_plain_void(options: Options, scan: Scan) -> None:
    """Refuse 255 that may be a class: as void it would hide what is labelled.

    Raises:
        UserError: 255 is next to 0 alone, in every mask that has it.
    """
    others = [value for value in scan.of(False)[0] if value != VOID]
    if (len(others) > 1 or others == [0]) and scan.void_alone and not scan.void_next_to_others:
        raise unknown_labels(options, scan, False,
                             f"255 is in {scan.void_alone} masks, next to 0 alone, so it may be void or a class: void "
                             "there would hide what is labelled")  # fmt: skip


def _voc_colours(scan: Scan, options: Options) -> Meaning:
    """Colours of PASCAL VOC as the indices that they are of."""
    count = len(options.classes) or VOC_CLASSES
    indices = {key_of_colour(voc_colour(index)): index for index in range(min(count, VOC_CLASSES))}
    void = key_of_colour(voc_colour(VOID))
    if not set(scan.colours) <= {*indices, void}:
        raise unknown_labels(options, scan, True, "the masks hold colours, and no legend says of which classes")
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
