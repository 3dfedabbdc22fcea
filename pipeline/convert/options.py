"""The arguments of `python -m pipeline.convert`, parsed and checked."""

import posixpath
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.classes import AUTO, COLOUR
from pipeline.data.palette import Colour
from pipeline.runtime.cli import parse
from pipeline.runtime.errors import UserError
from pipeline.runtime.paths import typed_path
from pipeline.runtime.text import CONTROL, nearest, one_of

FORMATS = ("masks", "coco", "labelme", "cvat", "cityscapes", "ade20k", "supervisely")
OUTLINES = ("coco", "labelme", "cvat", "supervisely")  # formats whose files name labels
VOID_NAME = "void"  # in values=, colours= and labels=: pixels that are neither learnt nor scored
ONLY = {  # keys of some formats alone
    "values": ("masks",), "colours": ("masks",), "tolerance": ("masks",), "images": ("masks",), "masks": ("masks",),
    "labels": OUTLINES, "background": (*OUTLINES, "masks"), "classes": (*OUTLINES, "masks"),
}  # fmt: skip
KEYS = (
    "format", "images", "masks", "classes", "background", "values", "colours", "labels", "tolerance", "split", "group",
    "max_side", "intensity", "overwrite",
)  # fmt: skip
MOST_CLASSES = 255


@dataclass(frozen=True)
class Options:
    """What the command line says; None, or empty, for what is to be guessed."""

    source: Path
    output: Path
    format: str = AUTO
    images: str | None = None
    masks: str | None = None
    classes: tuple[str, ...] = ()
    background: str | None = AUTO
    values: Mapping[int, str] = field(default_factory=dict)
    colours: Mapping[Colour, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    tolerance: int | None = None
    split: tuple[float, float, float] | None = None
    group: re.Pattern[str] | None = None
    max_side: int | None = None
    intensity: tuple[float, float] | None = None
    overwrite: bool = False
    typed: tuple[str, ...] = ()  # all arguments, as they were typed

    def command_with(self, *arguments: str) -> str:
        """The command that was typed, for a shell, with these arguments added, or in place of others of their keys."""
        keys = {argument.partition("=")[0] for argument in arguments}
        others = [argument for argument in self.typed if argument.partition("=")[0] not in keys]
        return f"python -m pipeline.convert {shlex.join([*others, *arguments])}"

    @property
    def leaves_splits(self) -> bool:
        """Whether the source's own splits are used, if it has them."""
        return self.split is None and self.group is None

    @property
    def root(self) -> Path:
        """The folder whose files are read: of a single file the one that it is in, or the one around annotations/."""
        if self.source.is_dir():
            return self.source
        return self.source.parent.parent if self.source.parent.name == "annotations" else self.source.parent

    @property
    def only(self) -> str | None:
        """The source relative to `root`, if it is a single file."""
        return None if self.source.is_dir() else self.source.relative_to(self.root).as_posix()


def parse_options(arguments: Sequence[str]) -> Options:
    """Parse the arguments.

    Raises:
        UserError: with every fault.
    """
    parsed = parse(arguments, ("source", "output"), KEYS, booleans=("overwrite",))
    given = parsed.values
    faults: list[str] = []
    found: dict[str, Any] = {}
    for key in ("source", "output"):
        try:
            found[key] = typed_path(key, given[key])
        except UserError as error:
            faults += error.faults
    for key, read in READERS.items():
        if key in given:
            try:
                found[key] = read(given[key])
            except ValueError as error:
                faults.append(f"{key}={given[key]}: {error}")
    if faults:
        raise UserError(*faults)
    return Options(**found, overwrite=parsed.is_true("overwrite"), typed=tuple(arguments))


def require_fitting(options: Options, form: str) -> None:
    """Refuse keys that the format does not have.

    Raises:
        UserError: with every fault.
    """
    faults = [
        f"{key}: only format={one_of(formats)} has it, and this is {form}"
        for key, formats in ONLY.items()
        if form not in formats and getattr(options, key) not in (None, (), {}, AUTO)
    ]
    if options.background is None and form not in ONLY["background"]:
        faults.append(f"background: format={form} has its own classes")
    if faults:
        raise UserError(*faults)


def _plain(text: str) -> Any:
    """A value in YAML's flow style, without types, aliases and what else YAML can hide."""
    try:
        for event in yaml.parse(text):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None) is not None:
                raise ValueError("plain values expected")
        return yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError("cannot be read; brackets and quotes as in the examples of --help expected") from error


def _mapping(text: str, example: str) -> dict[Any, Any]:
    """`{a: b}`, also without the blank after a colon, which YAML needs."""
    found = _plain(text)
    if not isinstance(found, dict) or not found:
        raise ValueError(f"for example {example} expected")
    result = {}
    for name, value in found.items():
        if value is None and isinstance(name, str) and ":" in name:
            name, _, value = name.rpartition(":")
            name = int(name) if name.isdecimal() else name.strip("\"'")
        if value is None or isinstance(value, list | dict):
            raise ValueError(f"{name} has no name of a class; for example {example} expected")
        result[name] = _name(value)
    return result


def _name(value: Any) -> str:
    """A name of a class. YAML reads some as other things than text, such as `no` and `1`."""
    text = {True: "true", False: "false"}.get(value, str(value)) if isinstance(value, bool) else str(value)
    if not text.strip() or CONTROL.search(text):
        raise ValueError("names of classes without control characters expected")
    return text.strip()


def _values(text: str) -> dict[int, str]:
    found = _mapping(text, "'{0: background, 255: object}'")
    if wrong := [value for value in found if not isinstance(value, int) or not 0 <= value < 2**16]:
        raise ValueError(f"{wrong[0]} is not a value of a mask; whole numbers from 0 to 65535 expected")
    return found


def colour_of(text: str) -> Colour:
    """`#rrggbb` as RGB.

    Raises:
        ValueError: it is written otherwise.
    """
    if not COLOUR.fullmatch(text):
        raise ValueError(f"{text} is not a colour; '#rrggbb' in quotes expected, such as '#800000'")
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _colours(text: str) -> dict[Colour, str]:
    example = """'{"#000000": background, "#800000": a}'"""
    return {colour_of(str(colour)): name for colour, name in _mapping(text, example).items()}


def _labels(text: str) -> dict[str, str]:
    return {str(label): name for label, name in _mapping(text, "'{kitten: cat, unclear: void}'").items()}


def _classes(text: str) -> tuple[str, ...]:
    found = _plain(text)
    if not isinstance(found, list) or not 1 <= len(found) <= MOST_CLASSES:
        raise ValueError(f"1 to {MOST_CLASSES} names expected, such as '[background,cat,dog]'")
    names = tuple(_name(value) for value in found)
    if repeated := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"{min(repeated)} is there twice")
    if VOID_NAME in names:
        raise ValueError(f"{VOID_NAME} is no class: it is what is neither learnt nor scored")
    return names


def _format(text: str) -> str:
    if text not in (AUTO, *FORMATS):
        raise ValueError(f"{one_of((AUTO, *FORMATS))} expected{nearest(text, [AUTO, *FORMATS])}")
    return text


def _numbers(text: str, count: int, example: str) -> tuple[float, ...]:
    found = _plain(text)
    if (
        not isinstance(found, list)
        or len(found) != count
        or not all(isinstance(n, int | float) and not isinstance(n, bool) for n in found)
    ):
        raise ValueError(f"{count} numbers expected, such as '{example}'")
    return tuple(float(number) for number in found)


def _split(text: str) -> tuple[float, ...]:
    parts = _numbers(text, 3, "[0.8,0.1,0.1]")
    if not all(0 <= part <= 1 for part in parts) or abs(sum(parts) - 1) > 1e-6 or parts[0] == 0:
        raise ValueError("shares of train, val and test with the sum 1 expected, such as '[0.8,0.1,0.1]'")
    return parts


def _intensity(text: str) -> tuple[float, ...]:
    low, high = _numbers(text, 2, "[0,4095]")
    if not low < high:
        raise ValueError("[low,high] with low < high expected, such as '[0,4095]'")
    return low, high


def _group(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ValueError(f"is not a regular expression: {error}") from error


def _folder(text: str) -> str:
    if text.startswith("/"):
        raise ValueError("a folder relative to the source expected")
    return posixpath.normpath(text)


def _whole(least: int, most: int, text: str) -> int:
    if not text.isdecimal() or not least <= int(text) <= most:
        raise ValueError(f"a whole number from {least} to {most} expected")
    return int(text)


READERS: dict[str, Any] = {
    "format": _format,
    "images": _folder,
    "masks": _folder,
    "classes": _classes,
    "background": lambda text: None if text == "null" else _name(text),
    "values": _values,
    "colours": _colours,
    "labels": _labels,
    "tolerance": lambda text: _whole(0, 255, text),
    "split": _split,
    "group": _group,
    "max_side": lambda text: _whole(16, 65535, text),
    "intensity": _intensity,
}
