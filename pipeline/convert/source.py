"""What every reader gives: images, what draws the mask of each, the classes; and the files of a source, safely listed.

A source comes from strangers: nothing outside its folder is read, whatever its names and links say.
"""

import json
import math
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

import numpy as np

from pipeline.data.find_files import COMPANION
from pipeline.data.mask_names import SPLITS
from pipeline.data.palette import Colour
from pipeline.data.path_parts import folders_of, name_of, stem_of
from pipeline.runtime.errors import UserError
from pipeline.runtime.limits import available_memory
from pipeline.runtime.text import enumerated

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
MOST_FILES = 5_000_000
LARGEST_JSON = 2**29  # bytes
MEMORY_OF_JSON = 10  # bytes of memory for each byte of JSON, at most
Size = tuple[int, int]  # width, height


class MaskSource(Protocol):
    """Draws or reads the mask of one image. It is small, and goes to other processes; pixels are read when needed."""

    def read(self, size: Size) -> np.ndarray:
        """The mask, (height, width) uint8 class indices, 255 where void.

        Args:
            size: of the image as viewers display it, for outlines whose file does not say for which size they are.

        Raises:
            UnknownLabels: it holds values or colours that no class has.
            ValueError: it cannot be read.
        """
        ...


class UnknownLabels(ValueError):
    """A mask holds values or colours without a class."""

    def __init__(self, pixels: Counter[str]) -> None:
        super().__init__(f"holds {enumerated(pixels)}")
        self.pixels = pixels  # of each value or colour, as a person types it


@dataclass(frozen=True, slots=True)
class Item:
    """One image with its mask."""

    id: str  # of the output: the path below JPEGImages/, without an ending
    image: str  # relative to the source's root
    mask: MaskSource
    mask_name: str  # of the file that it is from, relative too
    split: str | None = None  # the tool's own: train, val or test


@dataclass
class Found:
    """What a reader makes of a source."""

    format: str
    items: list[Item]
    classes: list[str]
    background: str | None
    colours: list[Colour] | None = None  # of the classes, if the source has them
    notes: list[str] = field(default_factory=list)  # what was guessed, each with the key that overrides it
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Files:
    """The files of a folder, listed once. Hidden ones, and those of the operating system, are passed over."""

    root: Path
    paths: list[str]  # relative to root, sorted
    links: list[str]  # that lead to folders, which are not followed
    outside: list[str]  # links to files outside of the folder, which are not read

    @classmethod
    def below(cls, root: Path, without: Path) -> "Files":
        """List a folder.

        Args:
            without: a folder that is passed over, wherever it is: the output.

        Raises:
            UserError: it cannot be read, or holds too many files.
        """
        paths: list[str] = []
        links: list[str] = []
        outside: list[str] = []
        home, without = root.resolve(), without.resolve()
        folders = [""]
        while folders:
            folder = folders.pop()
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    name = f"{folder}{entry.name}"
                    if entry.name.startswith((".", COMPANION)) or entry.name in ("__MACOSX", "Thumbs.db"):
                        continue
                    if entry.is_dir(follow_symlinks=False):
                        if without.name == entry.name and Path(entry.path).resolve() == without:
                            continue
                        folders.append(f"{name}/")
                    elif entry.is_symlink():
                        _sort_link(Path(entry.path), name, home, paths, links, outside)
                    elif entry.is_file(follow_symlinks=False):
                        paths.append(name)
            if len(paths) > MOST_FILES:
                raise UserError(f"source={root}: more than {MOST_FILES} files; a folder of one dataset expected")
        return cls(root, sorted(paths), sorted(links), sorted(outside))

    def ending(self, *endings: str) -> list[str]:
        """The paths with one of these endings, in upper or lower case."""
        return [path for path in self.paths if path.lower().endswith(endings)]

    def note_links(self) -> list[str]:
        """What is said of links that are not followed."""
        notes = []
        if self.links:
            notes.append(f"links to folders are not followed: {enumerated(self.links)}; to have them read, copy the "
                         "source with cp -rL")  # fmt: skip
        if self.outside:
            notes.append(f"links that lead out of the source are not read: {enumerated(self.outside)}; to have them "
                         "read, copy the source with cp -rL")  # fmt: skip
        return notes

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for path in self.paths:
            found.setdefault(_composed(name_of(path)).casefold(), []).append(path)
        return found

    @cached_property
    def _known(self) -> dict[str, str]:
        """Path by its composed form: macOS writes names of files in another Unicode form than tools theirs."""
        return {_composed(path): path for path in self.paths}

    def within(self, name: str, *folders: str) -> str | None:
        """The file of this name, which may have folders, in the first of these folders that has it."""
        name = _slashed(name)
        for folder in folders:
            path = os.path.normpath(f"{folder}/{name}") if folder else os.path.normpath(name)
            if path in self._known:
                return self._known[path]
        return None

    def anywhere(self, name: str) -> str | None:
        """The only file of this name, in whatever folder.

        Names of Windows, and absolute ones of the machine where the name was written, are understood by their ends.
        """
        name = _slashed(name)
        same = self._by_name.get(PurePosixPath(name).name.casefold(), [])
        if len(same) > 1:
            forms = {path: _composed(path).casefold() for path in same}
            same = [path for path in same if name.casefold().endswith(forms[path])] or [
                path for path in same if forms[path].endswith(name.casefold().lstrip("./"))
            ]
        return same[0] if len(same) == 1 else None


def _slashed(name: str) -> str:
    """A name as a tool's file has it, composed, with one kind of slash and without the query of an address."""
    return _composed(name.replace("\\", "/").split("?")[0])


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _sort_link(path: Path, name: str, home: Path, paths: list[str], links: list[str], outside: list[str]) -> None:
    """Sort a link to one of the lists; one that leads nowhere or in a circle is like a file that is missing."""
    try:
        target = path.resolve(strict=True)
    except (OSError, RuntimeError):
        return
    if target.is_dir():
        links.append(name)
    elif target.is_relative_to(home):
        paths.append(name)
    else:
        outside.append(name)


def read_json(path: Path) -> Any:
    """The content of a JSON file that is not too large for this machine.

    Raises:
        UserError: it is too large, is no JSON, or cannot be read.
    """
    try:
        size = path.stat().st_size
        most = min(LARGEST_JSON, available_memory() // MEMORY_OF_JSON)
        if size > most:
            raise UserError(f"{path}: has {size >> 20} MB of JSON; at most {most >> 20} MB are read; split it")
        return json.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON: {error}") from error


def read_json_of_mask(path: Path) -> Any:
    """`read_json` while a mask is made, whose faults are reported with its name.

    Raises:
        ValueError: as `read_json` raises UserError.
    """
    try:
        return read_json(path)
    except UserError as error:
        raise ValueError(str(error)) from error


def require(content: Any, kind: type, where: str, what: str) -> Any:
    """A part of a tool's file, which has to be of this type.

    Raises:
        UserError: it is not.
    """
    if not isinstance(content, kind) or (kind in (int, float) and isinstance(content, bool)):
        raise UserError(f"{where}: {what} expected")
    return content


def require_name(content: Any, where: str, what: str) -> str:
    """A label of a tool's file without the blanks around it.

    Raises:
        UserError: it is no text, or nothing is left of it.
    """
    if not (name := require(content, str, where, what).strip()):
        raise UserError(f"{where}: a name is empty; {what} expected")
    return str(name)


def size_of(width: Any, height: Any) -> Size | None:
    """The size of an image as a tool's file says it; None if it does not."""
    whole = all(isinstance(side, int) and not isinstance(side, bool) and side > 0 for side in (width, height))
    return (width, height) if whole else None


def whole_number(value: Any) -> int:
    """A coordinate without its fraction.

    Raises:
        ValueError: it is no number.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"has a coordinate {value!r}; a number expected")
    return int(value)


def split_of(path: str) -> str | None:
    """The split that a folder in a path is named after."""
    parts = [SPLITS.get(part.lower()) for part in folders_of(path)]
    return next((split for split in parts if split), None)


def own_id(path: str, *unwanted: str) -> str:
    """An id for an image: its path without its ending and the folders of splits and of these names."""
    found = unicodedata.normalize("NFC", path)
    drop = {*SPLITS, *unwanted}
    parts = [part for part in folders_of(found) if part.lower() not in drop]
    return "/".join([*parts, stem_of(found)])


def left_out(what: str, names: Iterable[str]) -> list[str]:
    """A warning about files that give no example; none for no files."""
    every = list(names)
    return [f"{what} are left out: {enumerated(every, 3)}"] if every else []
