"""Lists the examples of a folder in PASCAL VOC layout: which images and masks, in which split.

<root>/JPEGImages/<id>.jpg (.jpeg, .png)   <root>/SegmentationClass/<id>.png   <root>/ImageSets/Segmentation/<list>.txt
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.config.schema import DatasetConfig, SplitsConfig
from pipeline.data.fixed_choice import hold_out
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import nearest

LISTS, MASKS, IMAGES = "ImageSets/Segmentation", "SegmentationClass", "JPEGImages"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
LAYOUT = f"a folder with {IMAGES}/, {MASKS}/ and {LISTS}/ expected"


@dataclass(frozen=True)
class Example:
    """One image and its mask of class indices, both of the same height and width once the image is turned."""

    id: str  # as in the list: the path below JPEGImages/, without suffix
    image: Path
    mask: Path
    orientation: int = 1  # the EXIF orientation by which its image is turned; 1: not at all
    intensity: tuple[float, float] | None = None  # range of its image's values, if they have more than 8 bits


Splits = dict[str, list[Example]]  # "train", "val" and, unless dataset.splits.test is null, "test"


def find_examples(
    root: Path, dataset: DatasetConfig, only: Sequence[str] = ("train", "val", "test")
) -> tuple[Splits, list[str]]:
    """The examples of the splits, in the order of the list files, and every fault of lists and file names.

    An id with a fault gives no example, so that the others can be checked nevertheless.

    Args:
        only: the splits that are wanted; the list files of the others may be missing.

    Raises:
        UserError: the folder is not in VOC layout at all, or a folder of images or masks cannot be read.
    """
    _require_layout(root)
    faults: list[str] = []
    ids = _ids_of_splits(root, dataset, only, faults)
    faults += _shared_ids(ids, _sources(dataset.splits))
    return _pair_files(root, ids, faults), faults


def shortened(faults: list[str], most: int = 20) -> list[str]:
    """The first faults, and a count of the others."""
    return faults if len(faults) <= most else [*faults[:most], f"and {len(faults) - most} more like these"]


def _require_layout(root: Path) -> None:
    folders = (IMAGES, MASKS, LISTS)
    missing = [name for name in folders if not (root / name).is_dir()]
    if not missing:
        return
    if not root.is_dir():
        raise UserError(f"dataset.root={root}: folder not found; {LAYOUT}")
    complete = [parent for parent in root.parents if all((parent / name).is_dir() for name in folders)]
    suggestion = f" (did you mean '{complete[0]}'?)" if complete else ""
    names = ", ".join(f"{name}/" for name in missing)
    raise UserError(f"dataset.root={root}: missing {names}{suggestion}; {LAYOUT}")


# ---- from list files to the ids of each split; `faults` is a list that each step adds to


def _ids_of_splits(root: Path, dataset: DatasetConfig, only: Sequence[str], faults: list[str]) -> dict[str, list[str]]:
    """Split -> ids, for the splits in `only`, with val held out of train and the extra list added to train."""
    splits = dataset.splits
    holds_out = splits.val is None and not {"train", "val"}.isdisjoint(only)
    ids = {
        split: _read_list(root, split, name, faults)
        for split, name in (("train", splits.train), ("val", splits.val), ("test", splits.test))
        if name is not None and (split in only or (split == "train" and holds_out))
    }
    listed = ids.get("train", [])
    if holds_out:
        train, val = _hold_out_val(listed, dataset, faults)
        ids = {**ids, "train": train, "val": val}
    if "train" in only and splits.extra is not None:
        known = set(listed)  # also those held out: lists of augmented data often repeat what is in train
        extra = _read_list(root, "extra", splits.extra, faults)
        ids["train"] = ids["train"] + [example_id for example_id in extra if example_id not in known]
    return {split: ids[split] for split in ("train", "val", "test") if split in ids and split in only}


def _hold_out_val(listed: list[str], dataset: DatasetConfig, faults: list[str]) -> tuple[list[str], list[str]]:
    train, val = hold_out(listed, dataset.val_fraction)
    if listed and not train:
        faults.append(
            f"{LISTS}/{dataset.splits.train}.txt: all {len(listed)} of its ids would be held out for validation; "
            f"list more, name a list in dataset.splits.val, or lower dataset.val_fraction={dataset.val_fraction}"
        )
    return train, val


def _read_list(root: Path, split: str, name: str, faults: list[str]) -> list[str]:
    """The ids of one list file, without those that would lead outside the folder."""
    path = root / LISTS / f"{name}.txt"
    if not path.is_file():
        faults.append(_missing_list(root, split, name))
        return []
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (UnicodeDecodeError, OSError) as error:
        faults.append(f"{LISTS}/{name}.txt: cannot be read as text: {error}; one id on each line, in UTF-8, expected")
        return []
    if not any(lines):
        faults.append(f"{LISTS}/{name}.txt: empty; one id on each line expected")
    ids: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        where = f"{LISTS}/{name}.txt line {number}: id '{line}'"
        if _leads_outside(line):
            faults.append(f"{where} is absolute or contains '..': a name inside JPEGImages/ expected")
        elif line in ids:
            faults.append(f"{where} is listed twice")
        else:
            ids[line] = None
    return list(ids)


def _missing_list(root: Path, split: str, name: str) -> str:
    available = sorted(file.stem for file in (root / LISTS).glob("*.txt"))
    what_to_do = (
        f"{LISTS}/ has {', '.join(available)}"
        if available
        else f"{LISTS}/ has no lists: write one with the id of an image on each line"
    )
    return f"dataset.splits.{split}={name}: {LISTS}/{name}.txt not found{nearest(name, available)}; {what_to_do}"


def _leads_outside(example_id: str) -> bool:
    path = PurePosixPath(example_id)
    return path.is_absolute() or ".." in path.parts or "\0" in example_id or "\\" in example_id


def _sources(splits: SplitsConfig) -> dict[str, str]:
    """Where the ids of each split come from, for messages."""
    train = f"{splits.train}.txt"
    return {
        "train": train if splits.extra is None else f"{train} or {splits.extra}.txt",
        "val": f"held out of {train}" if splits.val is None else f"{splits.val}.txt",
        "test": f"{splits.test}.txt",
    }


def _shared_ids(ids: Mapping[str, Iterable[str]], sources: Mapping[str, str]) -> list[str]:
    """A fault for every id that is in two splits."""
    faults: list[str] = []
    first: dict[str, str] = {}
    for split, split_ids in ids.items():
        for example_id in split_ids:
            if (other := first.setdefault(example_id, split)) != split:
                faults.append(
                    f"id '{example_id}' is in the {other} split ({sources[other]}) and in the {split} split "
                    f"({sources[split]}): each image may be in one only"
                )
    return faults


# ---- from ids to files


def _pair_files(root: Path, ids: Mapping[str, Iterable[str]], faults: list[str]) -> Splits:
    every = {example_id for split_ids in ids.values() for example_id in split_ids}
    images, masks = _files(root / IMAGES, every, IMAGE_SUFFIXES), _files(root / MASKS, every, (".png",))
    splits: Splits = {}
    for split, split_ids in ids.items():
        splits[split] = []
        for example_id in split_ids:
            image = _only_file(images.get(example_id, []), f"{IMAGES}/{example_id}", ".jpg", split, faults)
            mask = _only_file(masks.get(example_id, []), f"{MASKS}/{example_id}", ".png", split, faults)
            if image is not None and mask is not None:
                splits[split].append(Example(example_id, image, mask))
    return splits


def _only_file(found: Sequence[Path], name: str, suffix: str, split: str, faults: list[str]) -> Path | None:
    """The one file of a name; a fault and None if there is no file, or several with different suffixes."""
    if len(found) == 1:
        return found[0]
    if found:
        names = " and ".join(sorted(file.name for file in found))
        faults.append(f"{name}: ambiguous: found {names}; keep one of them")
    else:
        faults.append(f"{name}{suffix}: missing, but listed in the {split} split")
    return None


def _files(folder: Path, ids: Iterable[str], suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    """The files of each id: its name with one of the suffixes, in upper or lower case.

    Only folders that occur in ids are listed, so links can be followed without walking in circles.

    Raises:
        UserError: a folder may not be read.
    """
    found: dict[str, list[Path]] = {}
    for parent in {PurePosixPath(example_id).parent for example_id in ids}:
        try:
            files = list((folder / parent).iterdir())
        except PermissionError as error:
            raise UserError(
                f"{folder / parent}: cannot be read: {error.strerror}; give this user the right to read it"
            ) from error
        except OSError:  # the folder does not exist: its ids are reported as missing
            continue
        for file in files:
            if file.suffix.lower() in suffixes:
                found.setdefault((parent / file.stem).as_posix(), []).append(file)
    return found
