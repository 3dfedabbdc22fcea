"""Which image an outline file means: one in its own folder, or else the only one of that name anywhere.

The latter is a guess. It is not made where it would give a file the image of another one: a missing image is reported.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from pipeline.convert.source import IMAGE_ENDINGS, Files
from pipeline.data.mask_names import SPLITS
from pipeline.data.path_parts import folder_of, folders_of

ABSOLUTE = re.compile(r"/|[A-Za-z]:")  # starts a path of the machine where the file was written


@dataclass(frozen=True, slots=True)
class Wanted:
    """An image, as a tool's file names it."""

    name: str
    by: str  # the file
    folders: tuple[str, ...]  # where its tool has images, the first one first
    split: str | None = None  # that the file says
    stem: str | None = None  # a name without an ending that the image may have instead

    @property
    def said(self) -> str:
        """The name with one kind of slash."""
        return self.name.replace("\\", "/")


def find_images(files: Files, wanted: Sequence[Wanted]) -> list[str | None]:
    """The image of each; None if it is missing.

    One that lies elsewhere is taken if it is the only one of its name, another file does not have it in its own folder,
    its folder is not that of another split, and all that may mean it agree in its name and split.
    """
    found = [_in_its_folder(files, one) for one in wanted]
    elsewhere: dict[int, list[str]] = {}
    for place, one in enumerate(wanted):
        if found[place] is None:
            elsewhere[place] = [path for path in _by_name(files, one) if not _in_another_split(path, one)]
            if elsewhere[place] and folder_of(elsewhere[place][0]) == folder_of(one.by):
                found[place] = elsewhere[place][0]  # next to its file, which names it by an absolute path
    owned = set(found)
    guessed: dict[int, str] = {}
    meanings: dict[str, set[tuple[str, frozenset[str]]]] = {}
    for place, paths in elsewhere.items():
        path = next((path for path in paths if path not in owned), None)
        if found[place] is None and path is not None:
            guessed[place], one = path, wanted[place]
            meanings.setdefault(path, set()).add((one.said, _splits_meant(one, folders_of(one.by))))
    for place, path in guessed.items():
        if len(meanings[path]) == 1:
            found[place] = path
    return found


def _in_its_folder(files: Files, one: Wanted) -> str | None:
    """The image where the file says that it is; of a bare name, also one with another ending."""
    path = files.within(one.name, *one.folders)
    return path or (_called_as_its_file(files, one) if "/" not in one.said else None)


def _called_as_its_file(files: Files, one: Wanted) -> str | None:
    names = () if one.stem is None else (one.stem + ending for ending in IMAGE_ENDINGS)
    return next((path for name in names if (path := files.within(name, *one.folders))), None)


def _by_name(files: Files, one: Wanted) -> list[str]:
    """Where the image may be if it is not where the file says, the likeliest first."""
    stems = () if one.stem is None else (files.anywhere(one.stem + ending) for ending in IMAGE_ENDINGS)
    return [path for path in (files.anywhere(one.name), _called_as_its_file(files, one), *stems) if path is not None]


def _in_another_split(path: str, one: Wanted) -> bool:
    """Whether an image lies in a folder of another split than the one that its file means.

    Folders that the image and the file share say nothing: a dataset may lie in a folder called test.
    """
    there, here = folders_of(path), folders_of(one.by)
    shared = len(list(takewhile(lambda parts: parts[0] == parts[1], zip(there, here, strict=False))))
    lies_in, meant = _splits(there[shared:]), _splits_meant(one, here[shared:])
    return bool(lies_in and meant) and lies_in.isdisjoint(meant)


def _splits_meant(one: Wanted, folders: Sequence[str]) -> frozenset[str]:
    """The splits that the file, these folders of it, and the image's relative path say."""
    named = () if ABSOLUTE.match(one.said) else folders_of(one.said)
    said = _splits((*folders, *named))
    return said if one.split is None else said | {one.split}


def _splits(folders: Iterable[str]) -> frozenset[str]:
    """The splits that folders are named after, such as val2017 and train_images."""
    words = (word for folder in folders for word in re.findall("[a-z]+", folder.lower()))
    return frozenset(SPLITS[word] for word in words if word in SPLITS)
