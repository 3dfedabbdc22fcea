"""format=ade20k: the scene parsing challenge of ADE20K, 150 classes: images/ and annotations/, 0 is void."""

import csv
from pathlib import PurePosixPath

from pipeline.convert.mask_files import MaskFile, Table
from pipeline.convert.options import Options
from pipeline.convert.parallel import Workers
from pipeline.convert.source import Files, Found, Item, left_out, own_id, split_of
from pipeline.data.palette import VOID
from pipeline.data.recognise import ADE20K_CLASSES
from pipeline.runtime.errors import UserError

CLASSES = 150
LARGEST = 2**20  # bytes


def read(options: Options, files: Files, workers: Workers) -> Found:
    """Read the dataset.

    Raises:
        UserError: it has no masks with images.
    """
    classes, notes = _names(files)
    table = Table(False, ((0, VOID), *((index + 1, index) for index in range(len(classes)))))
    known = set(files.paths)
    items, masks = [], []
    for path in files.ending(".png"):
        parts = PurePosixPath(path).parts
        if "annotations" not in parts:
            continue
        place = parts.index("annotations")
        image = PurePosixPath(*parts[:place], "images", *parts[place + 1 :]).with_suffix(".jpg").as_posix()
        if image not in known:
            masks.append(path)
            continue
        identity = own_id(image, "images", *(part.lower() for part in parts[:place]))
        items.append(Item(identity, image, MaskFile(files.root, path, table), path, split_of(path)))
    if not items and files.ending("_seg.png"):
        raise UserError(
            f"source={options.source}: is the full release of ADE20K, whose 3,688 classes do not fit masks of 8 bits; "
            f"the challenge's data (ADEChallengeData2016, {CLASSES} classes) are read"
        )
    if not items:
        raise UserError(f"source={options.source}: no mask in annotations/ has its image in images/")
    found = Found("ade20k", items, classes, None, None, [*notes, "value 0 of the masks is void, 1 is the first class"])
    found.warnings += left_out("masks without an image", masks)
    return found


def _names(files: Files) -> tuple[list[str], list[str]]:
    """The first name of each class, with its number where two would be the same; and a note."""
    place = next((path for path in files.paths if PurePosixPath(path).name == ADE20K_CLASSES), None)
    if place is None or (files.root / place).stat().st_size > LARGEST:
        return [f"class_{index}" for index in range(1, CLASSES + 1)], [
            f"without {ADE20K_CLASSES}, classes have no names"
        ]
    with (files.root / place).open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = list(csv.reader(file, delimiter="\t"))
    names: list[str] = []
    for number, row in enumerate(rows[1:], 1):
        name = row[-1].split(",")[0].strip() if row else ""
        names.append(name if name and name not in names else f"{name or 'class'}_{number}")
    if len(names) != CLASSES:
        raise UserError(f"{files.root / place}: {len(names)} classes; {CLASSES} expected")
    return names, []
