"""Lists the examples of a folder in PASCAL VOC layout: which images and masks, in which split.

<root>/JPEGImages/<id>.jpg (.jpeg, .png)   <root>/SegmentationClass/<id>.png   <root>/ImageSets/Segmentation/<list>.txt
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.config.schema_dataset import DatasetConfig
from pipeline.data.faults import Fault, one_message_each
from pipeline.data.find_files import FileIndex, invisible, plainly, without_invisible
from pipeline.data.fixed_choice import first_by_hash, hold_out, take_fold
from pipeline.data.groups import Groups, groups_of
from pipeline.data.layout import IMAGE_SUFFIXES, IMAGES, LISTS, MASKS, require_layout
from pipeline.data.lists import Exists, decode_list, read_list


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
    require_layout(root, dataset.classes)
    faults: list[str] = []
    images, masks = FileIndex(root, IMAGES, IMAGE_SUFFIXES), FileIndex(root, MASKS, (".png",))
    ids = _ids_of_splits(root, dataset, only, lambda name: bool(images.find(name)), faults)
    faults += _shared_ids(ids, _sources(dataset))
    limited = {split: first_by_hash(split_ids, dataset.limit) for split, split_ids in ids.items()}
    return _pair_files(images, masks, limited, faults), faults


def unused_test_list(root: Path, dataset: DatasetConfig) -> list[str]:
    """A warning if a folder has a list and masks for the test, but val is scored in its place, as with PASCAL VOC."""
    splits, path = dataset.splits, root / LISTS / "test.txt"
    if dataset.name != "folder" or (splits.val, splits.test) != (None, "val"):
        return []
    try:
        listed = decode_list(path.read_bytes())[0].strip().splitlines()
    except OSError:  # there is none that could be used
        return []
    if not listed or not (root / MASKS / f"{listed[0].strip()}.png").is_file():
        return []  # PASCAL VOC's own test list has no masks
    return [
        f"{LISTS}/test.txt is not used: the images of val.txt are the test split; dataset.splits.val=val "
        "dataset.splits.test=test takes both lists for what they are called"
    ]


def shortened(faults: list[str], most: int = 20) -> list[str]:
    """The first faults, and a count of the others."""
    return faults if len(faults) <= most else [*faults[:most], f"and {len(faults) - most} more like these"]


# ---- from list files to the ids of each split; `faults` is a list that each step adds to


def _ids_of_splits(
    root: Path, dataset: DatasetConfig, only: Sequence[str], exists: Exists, faults: list[str]
) -> dict[str, list[str]]:
    """Split -> ids, for the splits in `only`, with val taken out of train and the extra list added to train."""
    splits = dataset.splits
    cuts = (splits.val is None or dataset.folds is not None) and not {"train", "val"}.isdisjoint(only)
    ids = {
        split: read_list(root, split, name, exists, faults)
        for split, name in (("train", splits.train), ("val", None if cuts else splits.val), ("test", splits.test))
        if name is not None and (split in only or (split == "train" and cuts))
    }
    listed = ids.get("train", [])
    held: set[str] = set()  # groups
    if cuts:
        groups = groups_of(listed, dataset.group, faults)
        train, val = _cut_train(listed, dataset, groups, faults)
        held = {groups[name] for name in val}
        ids = {**ids, "train": train, "val": val}
    if "train" in only and splits.extra is not None:
        known = set(listed)  # also those held out: lists of augmented data often repeat what is in train
        extra = [name for name in read_list(root, "extra", splits.extra, exists, faults) if name not in known]
        groups = groups_of(extra, dataset.group, faults)
        ids["train"] = ids["train"] + [name for name in extra if groups[name] not in held]
    return {split: ids[split] for split in ("train", "val", "test") if split in ids and split in only}


def _cut_train(
    listed: list[str], dataset: DatasetConfig, groups: Groups, faults: list[str]
) -> tuple[list[str], list[str]]:
    """Train and val: a fold, or the part that is held out."""
    list_file, count = f"{LISTS}/{dataset.splits.train}.txt", len(set(groups.values()))
    if dataset.folds is not None:
        assert dataset.fold is not None  # checked with the configuration
        if listed and count < dataset.folds:
            what = "ids" if dataset.group is None else f"groups by dataset.group={dataset.group}"
            faults.append(
                f"dataset.folds={dataset.folds}: {list_file} has only {count} {what}; at most {count} expected"
            )
            return [], []
        return take_fold(listed, dataset.fold, dataset.folds, groups)
    train, val = hold_out(listed, dataset.val_fraction, groups)
    if listed and not train:
        lower = f"or lower dataset.val_fraction={dataset.val_fraction}"
        if dataset.group is not None and count < len(listed):
            lower = f"or another dataset.group: {dataset.group} makes {count} group{'s' * (count > 1)} of them"
        faults.append(
            f"{list_file}: all {len(listed)} of its ids would be held out for validation; list more, name a list in "
            f"dataset.splits.val, {lower}"
        )
    return train, val


def _sources(dataset: DatasetConfig) -> dict[str, str]:
    """Where the ids of each split come from, for messages."""
    splits = dataset.splits
    train = f"{splits.train}.txt"
    held_out = f"held out of {train}" if dataset.folds is None else f"fold {dataset.fold} of {train}"
    return {
        "train": train if splits.extra is None else f"{train} or {splits.extra}.txt",
        "val": f"{splits.val}.txt" if splits.val is not None and dataset.folds is None else held_out,
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


def _pair_files(images: FileIndex, masks: FileIndex, ids: Mapping[str, Iterable[str]], faults: list[str]) -> Splits:
    splits: Splits = {}
    wrong: list[Fault] = []
    owners: dict[Path, str] = {}
    for split, split_ids in ids.items():
        splits[split] = []
        for listed in split_ids:
            image, mask = _only_file(images, listed, split, wrong), _only_file(masks, listed, split, wrong)
            if image is None or mask is None:
                continue
            if (other := owners.setdefault(image, listed)) != listed:
                what = f"ids '{plainly(other)}' and '{plainly(listed)}' are both {IMAGES}/{image.name}"
                wrong.append(Fault("same file", listed, what, "list it once"))
                continue
            # A name is used as it is listed, but for characters that nobody sees.
            splits[split].append(Example(without_invisible(listed) if invisible(listed) else listed, image, mask))
    faults += one_message_each(wrong)
    return splits


def _only_file(index: FileIndex, example_id: str, split: str, wrong: list[Fault]) -> Path | None:
    """The one file of an id; a fault and None if there is no file, or several with different suffixes."""
    found = index.find(example_id)
    if len(found) == 1:
        return found[0]
    wrong.append(index.ambiguous(example_id, found) if found else index.missing(example_id, split))
    return None
