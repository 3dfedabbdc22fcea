"""A folder in PASCAL VOC layout becomes lists of examples: which images and masks, in which split.

<root>/JPEGImages/<id>.jpg (.jpeg, .png)   <root>/SegmentationClass/<id>.png   <root>/ImageSets/Segmentation/<list>.txt
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.config.schema import DatasetConfig
from pipeline.data.fixed_choice import hold_out
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import nearest

LISTS, MASKS, IMAGES = "ImageSets/Segmentation", "SegmentationClass", "JPEGImages"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclass(frozen=True)
class Example:
    """One image and its mask of class indices, both of the same height and width."""

    id: str
    image: Path
    mask: Path


Splits = dict[str, list[Example]]  # "train", "val" and, unless dataset.splits.test is null, "test"


def find_examples(
    root: Path, dataset: DatasetConfig, only: Sequence[str] = ("train", "val", "test")
) -> tuple[Splits, list[str]]:
    """The examples of the splits, in the order of the list files, and every fault of lists and file names.

    An image with a fault is not among the examples, so that the others can be looked at nevertheless.

    Args:
        only: the splits that are wanted; lists of the others need not be there.

    Raises:
        UserError: the folder is not in VOC layout at all.
    """
    folders = (IMAGES, MASKS, LISTS)
    missing = [name for name in folders if not (root / name).is_dir()]
    if missing:
        expected = f"a folder with {IMAGES}/, {MASKS}/ and {LISTS}/ expected"
        if not root.is_dir():
            raise UserError(f"dataset.root={root}: there is no such folder; {expected}")
        around = [above for above in root.parents if all((above / name).is_dir() for name in folders)]
        meant = f" (did you mean '{around[0]}'?)" if around else ""
        raise UserError(f"dataset.root={root}: has no folder {', '.join(missing)}{meant}; {expected}")
    faults: list[str] = []
    names = {"train": dataset.splits.train, "val": dataset.splits.val, "test": dataset.splits.test}
    holds_out = dataset.splits.val is None and not {"train", "val"}.isdisjoint(only)
    ids = {
        split: _read_list(root, split, name, faults)
        for split, name in names.items()
        if name is not None and (split in only or (split == "train" and holds_out))
    }
    listed = ids.get("train", [])
    if holds_out:
        ids.pop("train")
        train, val = hold_out(listed, dataset.val_fraction)
        ids = {"train": train, "val": val, **ids}
        if listed and not train:
            faults.append(
                f"{LISTS}/{dataset.splits.train}.txt: all {len(listed)} of its ids would be held out for validation; "
                f"list more, name a list in dataset.splits.val, or lower dataset.val_fraction={dataset.val_fraction}"
            )
    if "train" in only and dataset.splits.extra is not None:  # which may well list those of train again
        known, extra = set(listed), _read_list(root, "extra", dataset.splits.extra, faults)
        ids["train"] = ids["train"] + [id for id in extra if id not in known]
    ids = {split: split_ids for split, split_ids in ids.items() if split in only}
    lists = {split: f"{name}.txt" for split, name in names.items()}
    if holds_out:
        lists["val"] = f"held out of {lists['train']}"
    if dataset.splits.extra is not None:
        lists["train"] += f" or {dataset.splits.extra}.txt"
    faults += _in_two_splits(ids, lists)

    every = {id for split_ids in ids.values() for id in split_ids}
    images, masks = _files(root / IMAGES, every, IMAGE_SUFFIXES), _files(root / MASKS, every, (".png",))
    splits: Splits = {split: [] for split in ids}
    for split, split_ids in ids.items():
        for id in split_ids:
            image, mask = images.get(id, []), masks.get(id, [])
            for folder, found, suffix in ((IMAGES, image, ".jpg"), (MASKS, mask, ".png")):
                if not found:
                    faults.append(f"{folder}/{id}{suffix}: missing, but listed in the {split} split")
                elif len(found) > 1:
                    faults.append(f"{folder}/{id}: ambiguous, there are {' and '.join(sorted(f.name for f in found))}")
            if len(image) == len(mask) == 1:
                splits[split].append(Example(id, image[0], mask[0]))
    return splits, faults


def shortened(faults: list[str], most: int = 20) -> list[str]:
    """The first faults, and a count of the others."""
    return faults if len(faults) <= most else [*faults[:most], f"and {len(faults) - most} more like these"]


def _read_list(root: Path, split: str, name: str, faults: list[str]) -> list[str]:
    """The ids of one list file, without those that would reach outside the folder."""
    path = root / LISTS / f"{name}.txt"
    if not path.is_file():
        there = sorted(file.stem for file in (root / LISTS).glob("*.txt"))
        faults.append(
            f"dataset.splits.{split}={name}: there is no {LISTS}/{name}.txt{nearest(name, there)}; "
            + (
                f"there are {', '.join(there)}"
                if there
                else "no list at all; the ids of its images expected, one a line"
            )
        )
        return []
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (UnicodeDecodeError, OSError) as error:
        faults.append(f"{LISTS}/{name}.txt: cannot be read as text: {error}")
        return []
    ids: dict[str, None] = {}
    for number, id in enumerate(lines, 1):
        if not id:
            continue
        where = f"{LISTS}/{name}.txt line {number}: id '{id}'"
        if PurePosixPath(id).is_absolute() or ".." in PurePosixPath(id).parts or "\0" in id or "\\" in id:
            faults.append(f"{where} is absolute or contains '..': a name inside JPEGImages/ expected")
        elif id in ids:
            faults.append(f"{where} is listed twice")
        else:
            ids[id] = None
    if not any(lines):
        faults.append(f"{LISTS}/{name}.txt: empty; one id on each line expected")
    return list(ids)


def _in_two_splits(ids: dict[str, list[str]], lists: dict[str, str]) -> list[str]:
    """Args: lists: where each split's ids come from."""
    faults: list[str] = []
    first: dict[str, str] = {}
    for split, split_ids in ids.items():
        for id in split_ids:
            if first.setdefault(id, split) != split:
                faults.append(
                    f"id '{id}' is in the {first[id]} split ({lists[first[id]]}) and in the {split} split "
                    f"({lists[split]}): each image may be in one only"
                )
    return faults


def _files(folder: Path, ids: set[str], suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    """The files of each id: its name with one of the suffixes, in upper or lower case.

    Only folders that ids name are listed, so links are followed without walking in circles.

    Raises:
        UserError: a folder may not be read.
    """
    found: dict[str, list[Path]] = {}
    for parent in {PurePosixPath(id).parent for id in ids}:
        try:
            files = list((folder / parent).iterdir())
        except PermissionError as error:
            raise UserError(f"{folder / parent}: cannot be read: {error.strerror}") from error
        except OSError:  # no such folder: its ids are told as missing
            continue
        for file in files:
            if file.suffix.lower() in suffixes:
                found.setdefault((parent / file.stem).as_posix(), []).append(file)
    return found
