"""format=cityscapes: leftImg8bit/ and gtFine/ (or gtCoarse/), or KITTI's image_2/ and semantic/, by 19 classes."""

import re
from pathlib import PurePosixPath

from pipeline.convert.mask_files import MaskFile, Table
from pipeline.convert.options import Options
from pipeline.convert.parallel import Workers
from pipeline.convert.source import Files, Found, Item, left_out, split_of
from pipeline.data.palette import VOID, Colour
from pipeline.runtime.errors import UserError

# id, name and colour of the classes in the order of their trainIds (cityscapesscripts/helpers/labels.py, 2.3). All
# other ids are void.
CLASSES: tuple[tuple[int, str, Colour], ...] = (
    (7, "road", (128, 64, 128)), (8, "sidewalk", (244, 35, 232)), (11, "building", (70, 70, 70)),
    (12, "wall", (102, 102, 156)), (13, "fence", (190, 153, 153)), (17, "pole", (153, 153, 153)),
    (19, "traffic light", (250, 170, 30)), (20, "traffic sign", (220, 220, 0)), (21, "vegetation", (107, 142, 35)),
    (22, "terrain", (152, 251, 152)), (23, "sky", (70, 130, 180)), (24, "person", (220, 20, 60)),
    (25, "rider", (255, 0, 0)), (26, "car", (0, 0, 142)), (27, "truck", (0, 0, 70)), (28, "bus", (0, 60, 100)),
    (31, "train", (0, 80, 100)), (32, "motorcycle", (0, 0, 230)), (33, "bicycle", (119, 11, 32)),
)  # fmt: skip
MASK = re.compile(r"(.+)_gt(Fine|Coarse)_(labelTrainIds|labelIds)\.png")
IMAGE = "leftImg8bit"
KITTI_IMAGES, KITTI_MASKS = "image_2", "semantic"  # folders within training/; masks hold ids of Cityscapes


def tables() -> dict[str, Table]:
    """What the values of the two kinds of masks mean."""
    train_ids = {number: index for index, (number, _, _) in enumerate(CLASSES)}
    every = tuple((value, train_ids.get(value, VOID)) for value in range(256))
    indices = tuple((value, value if value < len(CLASSES) else VOID) for value in range(256))
    return {"labelIds": Table(False, every), "labelTrainIds": Table(False, indices)}


def read(options: Options, files: Files, workers: Workers) -> Found:
    """Read the dataset.

    Raises:
        UserError: it has no masks with images.
    """
    known, of_kind = set(files.paths), tables()
    found: dict[str, tuple[str, str]] = {}  # image -> mask, its kind
    masks = []
    for path in files.ending(".png"):
        parts = PurePosixPath(path).parts
        if KITTI_MASKS in parts[:-1]:
            image = str(PurePosixPath(*(KITTI_IMAGES if part == KITTI_MASKS else part for part in parts)))
            if image in known:
                found[image] = path, "labelIds"
            else:
                masks.append(path)
            continue
        match = MASK.fullmatch(PurePosixPath(path).name)
        if not match:
            continue
        places = [place for place, part in enumerate(parts) if part == f"gt{match[2]}"]
        folders = [IMAGE if place in places else part for place, part in enumerate(parts[:-1])]
        image = str(PurePosixPath(*folders, f"{match[1]}_{IMAGE}.png"))
        if image not in known:
            masks.append(path)
        elif (
            image not in found
            or (match[2], match[3]) in (("Fine", "labelTrainIds"),)
            or (match[2] == "Fine" and "_gtCoarse_" in found[image][0])
        ):
            found[image] = path, match[3]
    if not found:
        raise UserError(f"source={options.source}: no *_gtFine_labelIds.png or *_labelTrainIds.png has its image in "
                        f"{IMAGE}/, and no file in {KITTI_MASKS}/ one in {KITTI_IMAGES}/")  # fmt: skip
    items = [
        Item(PurePosixPath(image).stem.removesuffix(f"_{IMAGE}"), image,
             MaskFile(files.root, mask, of_kind[kind]), mask, split_of(image))
        for image, (mask, kind) in sorted(found.items())
    ]  # fmt: skip
    names, colours = [name for _, name, _ in CLASSES], [colour for _, _, colour in CLASSES]
    kinds = sorted({kind for _, kind in found.values()})
    notes = [f"masks are {' and '.join(kinds)}: the {len(names)} classes of the benchmark, everything else is void"]
    result = Found("cityscapes", items, names, None, colours, notes)
    result.warnings += left_out("masks without an image", masks)
    return result
