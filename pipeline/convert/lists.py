"""Splits by list files, such as those of a VOC folder, whatever form their lines have."""

import re
import unicodedata
from collections.abc import Callable, Sequence, Set
from dataclasses import replace
from pathlib import PurePosixPath

from pipeline.convert.options import Options
from pipeline.convert.source import Files, Found, Item, left_out
from pipeline.convert.splits import NAMES, are_splits
from pipeline.data.find_files import without_invisible
from pipeline.data.layout import IMAGES, MASKS
from pipeline.data.lists import ENDING, decode_list, id_in_line
from pipeline.data.mask_names import NAME_WORDS, SPLITS, without_word
from pipeline.data.path_parts import stem_of
from pipeline.runtime.text import enumerated

LISTS = re.compile(r"(.*/)?(ImageSets/Segmentation|ImageSets|splits?|lists?)/(\w+)\.txt|(\w+)\.txt")
BOTH = "trainval"  # the name of lists of train and val together
LARGEST_LIST = 2**26  # bytes


def with_lists(found: Found, files: Files, options: Options) -> None:
    """Give items the splits of list files, where no folder is called after a split.

    Lists that name none of the images are passed over. If the lists are the splits, images in no list are left out; if
    other splits are made, all images stay.
    """
    if any(item.split for item in found.items):
        return
    lists = {path: split for path in files.ending(".txt") if (split := _split_listed(files, path))}
    if not lists:
        return
    place_of = _places(found.items)
    splits: dict[int, str] = {}
    both: set[int] = set()  # in a list of train and val together
    unknown, twice = [], []
    for path, split in lists.items():
        text, _ = decode_list((files.root / path).read_bytes())
        for line in filter(None, map(without_invisible, text.splitlines())):
            place = place_of(line)
            if place is None:
                unknown.append(f"{path}: {line}")
            elif split == BOTH:
                both.add(place)
            elif splits.setdefault(place, split) != split:
                twice.append(f"{found.items[place].id} ({splits[place]} and {split})")
    if not splits and not both:
        return
    notes = _give_rest(splits, both, len(found.items))
    found.items = [replace(item, split=splits.get(place)) for place, item in enumerate(found.items)]
    if not options.leaves_splits or not are_splits(splits.values()):
        return
    found.notes += notes
    found.warnings += left_out("lines of lists that name no image with a mask", unknown)
    found.warnings += left_out("images in no list", [item.id for item in found.items if item.split is None])
    if twice:
        found.warnings.append(f"images in two lists are taken for the first: {enumerated(twice)}")
    found.items = [item for item in found.items if item.split is not None]


def _give_rest(splits: dict[int, str], both: Set[int], count: int) -> list[str]:
    """Add images of train, or of val, where no list is of that split alone.

    They are those that only a list of train and val names. Without such a list all images in no list are train.

    Args:
        splits: place -> split by lists of one split, changed in place.
        both: the places in lists of train and val together.
        count: of all images.

    Returns:
        What was taken for what, as notes.
    """
    known = set(splits.values())
    if {"train", "val"} <= known:
        return []
    split = "val" if "train" in known else "train"
    rest = both - splits.keys()
    note = f"the {len(rest)} other images of {BOTH}.txt are {split}"
    if not both and split == "train":
        rest = set(range(count)) - splits.keys()
        listed = " and ".join(name for name in NAMES if name in known)
        note = f"{len(rest)} images in no list are train: lists are of {listed} alone"
    splits.update(dict.fromkeys(rest, split))
    return [note] if rest else []


def _split_listed(files: Files, path: str) -> str | None:
    """The split whose list a file is, by its name, or `BOTH`; None if it is none, or too large for one."""
    match = LISTS.fullmatch(path)
    name = match and (match[3] or match[4]).lower()
    split = BOTH if name == BOTH else SPLITS.get(name or "")
    return split if split and (files.root / path).stat().st_size <= LARGEST_LIST else None


def _places(items: Sequence[Item]) -> Callable[[str], int | None]:
    """A function that gives the place of the item that a line names: by its id, or by what no other is called."""
    exact = {item.id: place for place, item in enumerate(items)}
    alike: dict[str, set[int]] = {}
    for place, item in enumerate(items):
        stems = {stem_of(path) for path in (item.id + ".", item.image, item.mask_name)}
        for name in {item.id, *stems, *(without_word(stem, NAME_WORDS) for stem in stems)} - {None}:
            alike.setdefault(_folded(str(name)), set()).add(place)
    by_name = {name: min(places) for name, places in alike.items() if len(places) == 1}

    def find(name: str) -> int | None:
        return exact.get(name, by_name.get(_folded(name)))

    def place_of(line: str) -> int | None:
        if (place := find(line)) is not None:
            return place
        used, example_id = id_in_line(line, lambda name: find(name) is not None)
        return find(example_id if used else _path_in(line))

    return place_of


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _path_in(line: str) -> str:
    """The id in a line with a path: without further columns, folders of images, and an ending."""
    first = re.split(r"[,;|\t]| (?=\S+\.\w+$)", line.strip("\"'"))[0].strip().replace("\\", "/")
    path = PurePosixPath(re.sub(f"(?i){ENDING}", "", first))
    return "/".join(part for part in path.parts if part not in (IMAGES, MASKS, "images", ".", "/"))
