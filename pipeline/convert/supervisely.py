"""format=supervisely: meta.json, and in each dataset's folder img/ with images and ann/ with a JSON file for each."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline.convert.labels import Labels, resolve
from pipeline.convert.options import Options, colour_of
from pipeline.convert.parallel import Workers
from pipeline.convert.rasterize import Shape, covered
from pipeline.convert.source import (
    Files,
    Found,
    Item,
    Size,
    left_out,
    own_id,
    read_json,
    read_json_of_mask,
    require,
    require_name,
    size_of,
    split_of,
    whole_number,
)
from pipeline.data.image_files import MAX_PIXELS
from pipeline.data.palette import Colour
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import enumerated

AREAS = ("polygon", "rectangle", "bitmap", "line")
META = "meta.json"


@dataclass(frozen=True)
class SuperviselyMask:
    """The mask of one JSON file, which is read when the mask is needed."""

    path: Path
    index: tuple[tuple[str, int], ...]
    outside: int

    def read(self, size: Size) -> np.ndarray:
        """See `pipeline.convert.source.MaskSource`."""
        content = read_json_of_mask(self.path)
        width, height = _size(content) or size
        if width * height > MAX_PIXELS:
            raise ValueError(f"is for an image of {width}x{height}; at most {MAX_PIXELS} pixels expected")
        mask = np.full((height, width), self.outside, np.uint8)
        index = dict(self.index)
        for part in content["objects"]:
            if (area := _area(part, width, height)) is not None:
                mask[area] = index[part["classTitle"].strip()]
        return mask


def _size(content: dict[str, Any]) -> Size | None:
    size = content.get("size")
    if not isinstance(size, dict):
        return None
    return size_of(size.get("width"), size.get("height"))


def _area(part: dict[str, Any], width: int, height: int) -> np.ndarray | None:
    """The pixels of an object, (height, width) bool; None if it has no area."""
    kind = part.get("geometryType")
    if kind not in AREAS:
        return None
    if kind == "bitmap":
        found = part["bitmap"]
        left, top = (whole_number(value) for value in found["origin"])
        return covered(Shape(0, "bitmap", (found["data"], left, top, True)), width, height)
    points = part["points"]
    area = covered(Shape(0, kind, points["exterior"]), width, height)
    for hole in points.get("interior") or []:
        area &= ~covered(Shape(0, "polygon", hole), width, height)
    return area


def read(options: Options, files: Files, workers: Workers) -> Found:
    """Read Supervisely's files.

    Raises:
        UserError: they cannot be read, or hold labels of no class.
    """
    listed, tool_colours = _classes(files)
    pairs, missing = _pairs(files)
    scanned = list(workers.map(scan_file, [files.root / path for path, _ in pairs], "reading labels"))
    faults = [one for one in scanned if isinstance(one, str)]
    if faults:
        raise UserError(*faults[:20], *([f"and {len(faults) - 20} more like these"] if faults[20:] else []))
    if not pairs:
        raise UserError(f"source={options.source}: no JSON file in a folder ann/ has its image in img/; missing are "
                        f"{enumerated(missing, 3) or 'all'}")  # fmt: skip
    of_files = [one for one in scanned if not isinstance(one, str)]
    counts = sum(of_files, Counter[tuple[str, str]]())
    labels = resolve(Counter({label: n for (label, kind), n in counts.items() if kind in AREAS}), listed, options, META)
    items = []
    for (path, image), one in zip(pairs, of_files, strict=True):
        index = tuple(sorted({(label, labels.index[label]) for label, kind in one if kind in AREAS}))
        mask = SuperviselyMask(files.root / path, index, labels.outside)
        items.append(Item(own_id(image, "img"), image, mask, path, split_of(image)))
    colours = _colours(labels, tool_colours)
    found = Found("supervisely", items, labels.classes, labels.background, colours, labels.notes)
    found.notes.append("where figures overlap, the later one in the file is on top")
    skipped = Counter({kind: n for (_, kind), n in counts.items() if kind not in AREAS})
    if skipped:
        words = ", ".join(f"{count} {kind}" for kind, count in skipped.most_common())
        found.warnings.append(f"figures without an area are left out: {words}")
    found.warnings += left_out("JSON files without their image", missing)
    return found


def _classes(files: Files) -> tuple[list[str] | None, dict[str, Colour]]:
    """The classes of meta.json and their colours; None without such a file."""
    place = next((path for path in files.paths if PurePosixPath(path).name == META), None)
    if place is None:
        return None, {}
    where = str(files.root / place)
    content = require(read_json(files.root / place), dict, where, "classes")
    names, colours = [], {}
    for one in require(content.get("classes"), list, where, "a list of classes"):
        title = require(one, dict, where, "classes with a title").get("title")
        names.append(name := require_name(title, where, "classes with a title"))
        try:
            colours[name] = colour_of(str(one.get("color")))
        except ValueError:
            continue  # without colours of its own the class gets one
    return names, colours


def _colours(labels: Labels, found: dict[str, Colour]) -> list[Colour] | None:
    colours = {**({labels.background: (0, 0, 0)} if labels.background else {}), **found}
    every = [colours[name] for name in labels.classes if name in colours]
    return every if len(every) == len(labels.classes) else None


def _pairs(files: Files) -> tuple[list[tuple[str, str]], list[str]]:
    """JSON file and image of each image, and the JSON files whose image is missing."""
    known = set(files.paths)
    pairs, missing = [], []
    for path in files.ending(".json"):
        parts = PurePosixPath(path).parts
        if len(parts) < 2 or parts[-2] != "ann":
            continue
        image = str(PurePosixPath(*parts[:-2], "img", parts[-1].removesuffix(".json")))
        if image in known:
            pairs.append((path, image))
        else:
            missing.append(path)
    return pairs, missing


def scan_file(path: Path) -> Counter[tuple[str, str]] | str:
    """The objects of a JSON file by class and kind of figure; or what is wrong with it."""
    try:
        content = read_json(path)
    except UserError as error:
        return str(error)
    objects = content.get("objects") if isinstance(content, dict) else None
    if not isinstance(objects, list):
        return f"{path}: a list of objects expected"
    found: Counter[tuple[str, str]] = Counter()
    for number, part in enumerate(objects, 1):
        try:
            label, kind = part["classTitle"].strip(), part["geometryType"]
            if not label or not isinstance(kind, str):
                raise TypeError
            if kind == "bitmap":
                (_, _), _ = part["bitmap"]["origin"], part["bitmap"]["data"].encode()
            elif kind in AREAS:
                for ring in (part["points"]["exterior"], *(part["points"].get("interior") or [])):
                    for x, y in ring:
                        _ = x + 0.0, y + 0.0
            found[label, kind] += 1
        except (KeyError, TypeError, ValueError, AttributeError):
            return f"{path}: object {number}: classTitle, geometryType and its points or bitmap expected"
    return found
