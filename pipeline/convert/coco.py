"""format=coco: one JSON file for many images, of instances (polygons, run lengths) or panoptic (PNG files of ids)."""

import re
from array import array
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from pipeline.config.classes import AUTO
from pipeline.convert.extra import import_extra
from pipeline.convert.labels import Labels, resolve
from pipeline.convert.mask_files import read_stored
from pipeline.convert.mask_values import is_background
from pipeline.convert.named_images import Wanted, find_images
from pipeline.convert.options import Options
from pipeline.convert.parallel import Workers
from pipeline.convert.rasterize import Outlines, Shape, require_near
from pipeline.convert.source import (
    Files,
    Found,
    Item,
    Size,
    left_out,
    own_id,
    read_json,
    require,
    require_name,
    size_of,
    split_of,
)
from pipeline.data.mask_names import SPLITS
from pipeline.data.palette import VOID
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import enumerated

FOLDERS = ("images", "image", "imgs", "data", "jpegimages", "train2014", "val2014", "train2017", "val2017", "test2017")
OTHERS = ("captions", "person_keypoints", "image_info", "stuff")  # start names of COCO's files of other tasks


@dataclass
class _File:
    """One JSON file, checked."""

    path: str
    split: str | None  # of its images
    meant: str | None  # the split that its name says, by which images of other splits are not taken for its own
    panoptic: dict[Any, Any]  # by the id of their image, the file_name of its PNG of segments; empty: instances
    images: list[dict[str, Any]]
    annotations: dict[Any, list[dict[str, Any]]]  # by the id of their image
    categories: dict[Any, str]


@dataclass(frozen=True)
class PanopticMask:
    """A PNG whose colours are ids of segments, red + 256 green + 65536 blue."""

    path: Path
    segments: tuple[tuple[int, int], ...]  # id, class index
    outside: int

    def read(self, size: Size) -> np.ndarray:
        """See `pipeline.convert.source.MaskSource`."""
        stored = read_stored(self.path)
        if stored.colours is None:
            raise ValueError("is no PNG of colours, as panoptic masks are")
        red, green, blue = (stored.colours[..., channel].astype(np.int64) for channel in range(3))
        distinct, places = np.unique(red + 256 * green + 65536 * blue, return_inverse=True)
        known = {0: self.outside, **dict(self.segments)}
        if unknown := [value for value in distinct.tolist() if value not in known]:
            raise ValueError(f"holds the segment {unknown[0]}, which its JSON file does not list")
        table = np.array([known[value] for value in distinct.tolist()], np.uint8)
        return np.asarray(table[places].reshape(red.shape))


def read(options: Options, files: Files, workers: Workers) -> Found:
    """Read COCO's files.

    Raises:
        UserError: they cannot be read, or hold labels of no class; or pycocotools is missing.
    """
    parsed, notes = _files(options, files, workers)
    counts: Counter[str] = Counter()
    for one in parsed:
        for annotations in one.annotations.values():
            counts.update(_label(one, annotation) for annotation in annotations)
    panoptic = bool(parsed[0].panoptic)
    listed = list(dict.fromkeys(name for one in parsed for name in _categories(one)))
    if panoptic and options.background == AUTO and not any(map(is_background, options.classes or listed)):
        options = replace(options, background=None)
    labels = resolve(counts, listed, options, "categories")
    items, missing, boxes = [], [], 0
    every = [(one, image) for one in parsed for image in one.images]
    folders = {one.path: _folders(one.path) for one in parsed}
    wanted = [Wanted(image["file_name"], one.path, folders[one.path], one.meant) for one, image in every]
    for (one, image), name in zip(every, find_images(files, wanted), strict=True):
        if name is None:
            missing.append(str(image["file_name"]))
            continue
        mask, empty = _mask(one, image, labels, files)
        boxes += empty
        items.append(Item(own_id(name, *FOLDERS), name, mask, one.path, one.split or split_of(name)))
    if missing and not items:
        raise UserError(f"{parsed[0].path}: none of its images was found, such as {enumerated(missing, 3)}; put them "
                        f"below {options.root}")  # fmt: skip
    found = Found("coco", items, labels.classes, labels.background, None, notes + labels.notes)
    if not panoptic:
        found.notes.append(
            "where outlines overlap, the later one in the file is on top, and crowds are below all others"
        )
        bare = sum(not one.annotations.get(image["id"]) for one in parsed for image in one.images)
        if bare:
            found.notes.append(f"{bare} images without an outline are {labels.background or 'void'} throughout")
    if boxes:
        found.warnings.append(f"{boxes} annotations without an outline, such as boxes alone, are left out")
    found.warnings += left_out("images that were not found", missing)
    return found


def _files(options: Options, files: Files, workers: Workers) -> tuple[list[_File], list[str]]:
    """The JSON files of a source: of instances, or else panoptic ones."""
    if options.only is not None:
        paths = [options.only]
    else:
        paths = [path for path in files.ending(".json") if not PurePosixPath(path).name.lower().startswith(OTHERS)]
    parsed = []
    for number, path in enumerate(paths, 1):
        if (one := _parsed(files.root / path, path)) is not None:
            parsed.append(one)
        workers.progress("reading JSON", number, len(paths))
    if not parsed:
        raise UserError(f"source={options.source}: no JSON file of COCO, with images, annotations and categories")
    notes = []
    if {bool(one.panoptic) for one in parsed} == {True, False}:
        left = [one.path for one in parsed if one.panoptic]
        notes.append(f"instances are read, not {enumerated(left)}; source=<file> reads one of these")
        parsed = [one for one in parsed if not one.panoptic]
    if not parsed[0].panoptic and any(
        isinstance(a.get("segmentation"), list) for o in parsed for every in o.annotations.values() for a in every
    ):
        import_extra("pycocotools.mask", files.root / parsed[0].path)
    if len(parsed) == 1:
        parsed[0].split = None
        if options.only is None:
            parsed[0].meant = None  # without others, its name says little
    return parsed, notes


def _parsed(path: Path, name: str) -> _File | None:
    """A JSON file, checked as far as it is used; None if it is none of COCO's."""
    content = read_json(path)
    if not isinstance(content, dict) or not {"images", "annotations", "categories"} <= content.keys():
        return None
    where = str(path)
    categories: dict[Any, str] = {}
    for category in require(content["categories"], list, where, "a list of categories"):
        require(category, dict, where, "categories with id and name")
        label = require_name(category.get("name"), where, "categories with id and name")
        categories[require(category.get("id"), int, where, "categories with id and name")] = label
    images = require(content["images"], list, where, "a list of images")
    for image in images:
        require(image, dict, where, "images with id and file_name")
        require(image.get("file_name"), str, where, "images with id and file_name")
        require(image.get("id"), (int, str), where, "images with id and file_name")  # type: ignore[arg-type]
    known = {image["id"] for image in images}
    annotations: dict[Any, list[dict[str, Any]]] = {}
    panoptic: dict[Any, Any] = {}  # the file_name of each image's PNG, where annotations are segments of one
    for annotation in require(content["annotations"], list, where, "a list of annotations"):
        require(annotation, dict, where, "annotations with image_id")
        require(annotation.get("image_id"), (int, str), where, "annotations with image_id")  # type: ignore[arg-type]
        if annotation["image_id"] not in known:
            raise UserError(
                f"{where}: an annotation is of image {annotation.get('image_id')!r}, which it does not list"
            )
        parts = [annotation]
        if "segments_info" in annotation:
            parts = require(annotation["segments_info"], list, where, "a list as segments_info")
            panoptic.setdefault(annotation["image_id"], annotation.get("file_name"))
        for part in parts:
            require(part, dict, where, "annotations with category_id")
            require(part.get("category_id"), int, where, "annotations with category_id")
        annotations.setdefault(annotation["image_id"], []).extend(parts)
    split = _split_of_name(name)
    return _File(name, split, split, panoptic, images, annotations, categories)


def _split_of_name(path: str) -> str | None:
    """The split that a JSON file is named after, such as instances_train2017.json, or its folder."""
    words = re.findall(r"[a-z]+", PurePosixPath(path).name.lower())
    return next((SPLITS[word] for word in words if word in SPLITS), None) or split_of(path)


def _label(one: _File, annotation: dict[str, Any]) -> str:
    number = annotation["category_id"]
    return one.categories.get(number, f"category {number}")


def _categories(one: _File) -> list[str]:
    """The names of the categories by id, without the placeholder that Roboflow writes first."""
    used = {annotation["category_id"] for every in one.annotations.values() for annotation in every}
    names = [(number, name) for number, name in sorted(one.categories.items())]
    if len(names) > 1 and names[0][0] == 0 and 0 not in used and "_annotations.coco" in one.path:
        names = names[1:]
    return [name for _, name in names]


def _folders(path: str) -> tuple[str, ...]:
    """Where the images of a JSON file may lie."""
    folder = str(PurePosixPath(path).parent)
    stem = re.sub(r"^(instances|panoptic)_", "", PurePosixPath(path).stem)
    top = str(PurePosixPath(folder).parent)
    return (
        folder,
        f"{folder}/images",
        f"{top}/images",
        top,
        stem,
        f"images/{stem}",
        f"{top}/{stem}",
        f"{top}/images/{stem}",
    )


def _mask(one: _File, image: dict[str, Any], labels: Labels, files: Files) -> tuple[Outlines | PanopticMask, int]:
    """What draws the mask of an image, and how many of its annotations have no outline."""
    annotations = one.annotations.get(image["id"], [])
    size = size_of(image.get("width"), image.get("height"))
    if one.panoptic:
        return _panoptic(one, image, annotations, labels, files), 0
    shapes, empty = [], 0
    for annotation in sorted(annotations, key=lambda part: not part.get("iscrowd")):
        index = labels.index[_label(one, annotation)]
        shape = _shape(one, annotation, index, size)
        if shape is None:
            empty += 1
        else:
            shapes.append(shape)
    return Outlines(tuple(shapes), labels.outside, size), empty


def _shape(one: _File, annotation: dict[str, Any], index: int, size: Size | None) -> Shape | None:
    """The shape of an annotation; None if it has no outline."""
    where, found = f"{one.path}: annotation {annotation.get('id')}", annotation.get("segmentation")
    if isinstance(found, dict):
        counts, tall_wide = found.get("counts"), found.get("size")
        if not isinstance(counts, str | list) or not isinstance(tall_wide, list) or len(tall_wide) != 2:
            raise UserError(f"{where}: run lengths with counts and size expected")
        height, width = (require(side, int, where, "a size of whole numbers") for side in tall_wide)
        return Shape(index, "rle", (counts if isinstance(counts, str) else tuple(counts), 0, 0, width, height))
    if not isinstance(found, list) or not found:
        return None
    polygons = [found] if isinstance(found[0], int | float) else found
    kept = []
    for polygon in polygons:
        require(polygon, list, where, "polygons as lists of numbers")
        if len(polygon) % 2:
            raise UserError(f"{where}: a polygon of {len(polygon)} numbers; x and y of each point expected")
        try:
            require_near(polygon, *(size or (2**16, 2**16)))
        except ValueError as error:
            raise UserError(f"{where}: {error}") from error
        if len(polygon) >= 6:
            kept.append(array("d", polygon))  # in a quarter of the memory of a tuple
    return Shape(index, "coco", tuple(kept)) if kept else None


def _panoptic(
    one: _File, image: dict[str, Any], segments: list[dict[str, Any]], labels: Labels, files: Files
) -> PanopticMask:
    stem = PurePosixPath(one.path).stem
    folder = str(PurePosixPath(one.path).parent)
    name = one.panoptic.get(image["id"]) or f"{PurePosixPath(image['file_name']).stem}.png"
    folders = (f"{folder}/{stem}", stem, folder, f"{folder}/panoptic")
    (png,) = find_images(files, [Wanted(str(name), one.path, folders, one.meant)])
    if png is None:
        raise UserError(f"{one.path}: its mask {name} was not found below the source")
    pairs = tuple(
        (require(segment.get("id"), int, one.path, "segments with an id"), labels.index[_label(one, segment)])
        for segment in segments
    )
    return PanopticMask(files.root / png, pairs, VOID if labels.background is None else labels.outside)
