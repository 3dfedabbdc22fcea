"""format=labelme: a JSON file of shapes for each image."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.convert.labels import Labels, resolve
from pipeline.convert.legends import NAMES, find_legend
from pipeline.convert.named_images import Wanted, find_images
from pipeline.convert.options import Options
from pipeline.convert.parallel import Workers
from pipeline.convert.rasterize import Outlines, Shape
from pipeline.convert.source import (
    IMAGE_ENDINGS,
    Files,
    Found,
    Item,
    Size,
    left_out,
    own_id,
    read_json,
    read_json_of_mask,
    size_of,
    split_of,
    whole_number,
)  # fmt: skip
from pipeline.data.path_parts import folder_of, stem_of
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import enumerated

KINDS = {
    "polygon": "polygon", "oriented_rectangle": "polygon", "rectangle": "rectangle", "circle": "circle", "line": "line",
    "linestrip": "line", "point": "point", "mask": "mask",
}  # fmt: skip
FOLDERS = ("images", "image", "imgs", "img", "annotations", "labels", "json", "jsons", "labelme")


@dataclass(frozen=True)
class LabelmeMask:
    """The mask of one JSON file, which is read when the mask is needed: it may hold the whole image."""

    path: Path
    index: tuple[tuple[str, int], ...]
    outside: int

    def read(self, size: Size) -> np.ndarray:
        """See `pipeline.convert.source.MaskSource`."""
        content = read_json_of_mask(self.path)
        index = dict(self.index)
        shapes = []
        for shape in content["shapes"]:
            kind = KINDS[shape.get("shape_type") or "polygon"]
            points = tuple((x, y) for x, y in shape["points"])
            data: Any = points
            if kind == "mask":
                kind, data = (
                    "bitmap",
                    (shape.get("mask"), whole_number(points[0][0]), whole_number(points[0][1]), False),
                )
            shapes.append(Shape(index[shape["label"].strip()], kind, data))
        return Outlines(tuple(shapes), self.outside, _size(content)).read(size)


def _size(content: dict[str, Any]) -> Size | None:
    return size_of(content.get("imageWidth"), content.get("imageHeight"))


def read(options: Options, files: Files, workers: Workers) -> Found:
    """Read labelme's files.

    Raises:
        UserError: they cannot be read, or hold labels of no class.
    """
    paths = files.ending(".json")
    scanned = list(workers.map(scan_file, [files.root / path for path in paths], "reading labels"))
    faults = [one.fault for one in scanned if one.fault]
    if faults:
        raise UserError(*faults[:20], *([f"and {len(faults) - 20} more like these"] if faults[20:] else []))
    counts: Counter[str] = Counter()
    for one in scanned:
        counts.update(one.labels)
    legend = find_legend(files) if files.ending(*NAMES) else None
    listed = list(legend.values.values()) if legend and legend.values else None
    labels = resolve(counts, listed, options, legend.file if legend else "")
    items, missing = _items(files, paths, scanned, labels)
    found = Found("labelme", items, labels.classes, labels.background, None, labels.notes)
    found.notes.append(
        "where outlines overlap, the later one in the file is on top; lines are 10 pixels wide, as in labelme"
    )
    used = {item.image for item in items}
    unlabelled = [path for path in files.ending(*IMAGE_ENDINGS) if path not in used]
    found.warnings += left_out("images without a JSON file", unlabelled)
    if missing and not items:
        raise UserError(f"source={options.source}: the images of the JSON files were not found: {enumerated(missing)}")
    found.warnings += left_out("JSON files whose image was not found", missing)
    return found


def _items(files: Files, paths: list[str], scanned: list["Scanned"], labels: Labels) -> tuple[list[Item], list[str]]:
    items, missing = [], []
    labelled = [(path, one, one.image) for path, one in zip(paths, scanned, strict=True) if one.image is not None]
    wanted = [Wanted(name, path, (folder_of(path),), stem=stem_of(path)) for path, _, name in labelled]
    for (path, one, _), image in zip(labelled, find_images(files, wanted), strict=True):
        if image is None or not image.lower().endswith(IMAGE_ENDINGS):
            missing.append(f"{path} ({one.image})")
            continue
        index = tuple((label, labels.index[label]) for label in sorted(one.labels))
        mask = LabelmeMask(files.root / path, index, labels.outside)
        split = split_of(image) or split_of(path)
        items.append(Item(own_id(image, *FOLDERS), image, mask, path, split))
    return items, missing


@dataclass(frozen=True)
class Scanned:
    """What a JSON file holds; no image: it is none of labelme's."""

    image: str | None = None
    labels: Counter[str] = field(default_factory=Counter)
    fault: str | None = None


def scan_file(path: Path) -> Scanned:
    """The image and the labels of a JSON file, its shapes checked."""
    try:
        content = read_json(path)
    except UserError as error:
        return Scanned(fault=str(error))
    if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
        return Scanned()
    image = content.get("imagePath")
    image = image if isinstance(image, str) and image else f"{path.stem}.jpg"
    labels: Counter[str] = Counter()
    for number, shape in enumerate(content["shapes"], 1):
        if (fault := _shape_fault(shape)) is not None:
            return Scanned(image, fault=f"{path}: shape {number}: {fault}")
        labels[shape["label"].strip()] += 1
    return Scanned(image, labels)


def _shape_fault(shape: Any) -> str | None:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not shape["label"].strip():
        return "has no label"
    kind = shape.get("shape_type") or "polygon"
    if not isinstance(kind, str) or kind not in KINDS:
        return f"is a {kind}; {', '.join(KINDS)} expected"
    points = shape.get("points")
    if not isinstance(points, list) or not all(
        isinstance(point, list) and len(point) == 2 and all(isinstance(value, int | float) for value in point)
        for point in points
    ):
        return "has no points [x, y]"
    if kind == "mask" and not (isinstance(shape.get("mask"), str) and points):
        return "is a mask without its pixels"
    return None
