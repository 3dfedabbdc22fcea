"""format=cvat: the XML file of "CVAT for images 1.1". Its mask export has image files, which are format=masks."""

import math
import re
import xml.etree.ElementTree as ElementTree
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from xml.etree.ElementTree import Element

from pipeline.convert.extra import import_extra
from pipeline.convert.labels import Labels, resolve
from pipeline.convert.named_images import Wanted, find_images
from pipeline.convert.options import Options
from pipeline.convert.parallel import Workers
from pipeline.convert.rasterize import Outlines, Shape, ellipse, require_near, rotated_box
from pipeline.convert.source import Files, Found, Item, Size, left_out, own_id, split_of
from pipeline.data.image_files import MAX_PIXELS
from pipeline.data.mask_names import SPLITS
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import enumerated

LARGEST_XML = 2**31  # bytes; read piece by piece
AREAS = ("polygon", "box", "ellipse", "mask")


@dataclass
class _Image:
    """One image of an XML file, with what is drawn on it: label, kind, data, in the order of drawing."""

    file: str
    name: str
    size: Size
    split: str | None  # the subset of a project
    drawn: list[tuple[str, str, tuple]] = field(default_factory=list)  # type: ignore[type-arg]


def read(options: Options, files: Files, workers: Workers) -> Found:
    """Read CVAT's files.

    Raises:
        UserError: they cannot be read, or hold labels of no class; or pycocotools is missing.
    """
    paths = [options.only] if options.only is not None else files.ending(".xml")
    images: list[_Image] = []
    listed: dict[str, None] = {}
    skipped: Counter[str] = Counter()
    for number, path in enumerate(paths, 1):
        for image in _images(files, path, listed, skipped):
            images.append(image)
        workers.progress("reading XML", number, len(paths))
    if not images:
        raise UserError(f"source={options.source}: no images in {enumerated(paths) or 'any XML file'}; export the task "
                        'as "CVAT for images 1.1"')  # fmt: skip
    import_extra("pycocotools.mask", files.root / images[0].file)
    counts = Counter(label for image in images for label, _, _ in image.drawn)
    labels = resolve(counts, list(listed) or None, options, "the labels of the task")
    items, missing = _items(files, images, labels)
    if not items:
        raise UserError(
            f"{images[0].file}: none of its images was found, such as {enumerated(missing, 3)}; export with images, or "
            f"put them below {options.root}"
        )
    found = Found("cvat", items, labels.classes, labels.background, None, labels.notes)
    found.notes.append(
        "where shapes overlap, the one of higher z_order is on top, then the later one; boxes are filled"
    )
    if skipped:
        words = ", ".join(f"{count} {kind}" for kind, count in skipped.most_common())
        found.warnings.append(f"shapes without an area are left out: {words}")
    found.warnings += left_out("images that were not found", missing)
    return found


def _items(files: Files, images: list[_Image], labels: Labels) -> tuple[list[Item], list[str]]:
    items, missing = [], []
    wanted = []
    for image in images:
        folder, subset = str(PurePosixPath(image.file).parent), image.split or ""
        folders = (f"{folder}/images", folder, f"{folder}/images/{subset}", "images", "")
        wanted.append(Wanted(image.name, image.file, folders, SPLITS.get(subset.lower())))
    for image, name in zip(images, find_images(files, wanted), strict=True):
        if name is None:
            missing.append(image.name)
            continue
        shapes = tuple(Shape(labels.index[label], kind, data) for label, kind, data in image.drawn)
        mask = Outlines(shapes, labels.outside, image.size)
        subset = (image.split or "").lower()
        split = SPLITS.get(subset) or split_of(name) or split_of(image.name) or split_of(image.file)
        items.append(Item(own_id(name, "images", subset), name, mask, image.file, split))
    return items, missing


def _images(files: Files, path: str, listed: dict[str, None], skipped: Counter[str]) -> Iterator[_Image]:
    """The images of one file, which is read piece by piece; labels of the task are added to `listed`."""
    place = files.root / path
    try:
        with place.open("rb") as opened:
            head = opened.read(2**16)
            if re.search(rb"<!(DOCTYPE|ENTITY)", head):
                raise UserError(f"{place}: declares entities, which files of CVAT do not")
            if place.stat().st_size > LARGEST_XML:
                raise UserError(
                    f"{place}: has {place.stat().st_size >> 20} MB; at most {LARGEST_XML >> 20} MB are read"
                )
            if not re.search(rb"<annotations\b", head):
                return
            opened.seek(0)
            parents: list[Element] = []
            for event, element in ElementTree.iterparse(opened, ("start", "end")):
                if event == "start":
                    parents.append(element)
                    continue
                parents.pop()
                if element.tag == "track":
                    raise UserError(f'{place}: is of a video; export the task as "CVAT for images 1.1"')
                if element.tag == "label" and (name := element.findtext("name")):
                    listed.setdefault(name.strip())
                if element.tag == "image" and len(parents) == 1:
                    yield _image(element, path, skipped)
                    parents[0].clear()  # memory stays flat
    except ElementTree.ParseError as error:
        raise UserError(f"{place}: is not XML: {error}") from error
    except OSError as error:
        raise UserError(f"{place}: cannot be read: {error.strerror}") from error


def _image(element: Element, path: str, skipped: Counter[str]) -> _Image:
    name = element.get("name", "")
    where = f"{path}: image {name}"
    width, height = (int(_number(element, side, where)) for side in ("width", "height"))
    if not name or width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise UserError(f"{where}: is {width}x{height}; a name, and at most {MAX_PIXELS} pixels expected")
    image = _Image(path, name, (width, height), element.get("subset"))
    shapes = []
    for shape in element:
        if shape.tag in AREAS:
            shapes.append((_number(shape, "z_order", where, 0), shape))
        else:
            skipped[shape.tag] += 1
    for _, shape in sorted(shapes, key=lambda pair: pair[0]):
        label = shape.get("label", "").strip()
        if not label:
            raise UserError(f"{where}: a {shape.tag} without a label")
        image.drawn.append((label, *_area(shape, where, (width, height))))
    return image


def _area(shape: Element, where: str, size: Size) -> tuple[str, tuple]:  # type: ignore[type-arg]
    """The kind and the data of a shape; see `pipeline.convert.rasterize.Shape`."""

    def numbers(*names: str) -> list[float]:
        return [_number(shape, name, where) for name in names]

    if shape.tag == "mask":
        place = [int(value) for value in numbers("left", "top", "width", "height")]
        try:
            runs = [int(run) for run in shape.get("rle", "").split(",")]
        except ValueError as error:
            raise UserError(f"{where}: a mask with run lengths expected") from error
        return "rows", (tuple(runs), *place)
    turn = _number(shape, "rotation", where, 0)
    if shape.tag == "box":
        left, top, right, bottom = numbers("xtl", "ytl", "xbr", "ybr")
        points = rotated_box(left, top, right, bottom, turn)
    elif shape.tag == "ellipse":
        x, y, rx, ry = numbers("cx", "cy", "rx", "ry")
        points = ellipse(x, y, rx, ry, turn)
    else:
        try:
            points = tuple(float(value) for pair in shape.get("points", "").split(";") for value in pair.split(","))
        except ValueError as error:
            raise UserError(f"{where}: a polygon with points x,y;x,y expected") from error
        if len(points) % 2 or len(points) < 6:
            raise UserError(f"{where}: a polygon of {len(points)} numbers; three points or more expected")
    try:
        require_near(points, *size)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error
    return "coco", (array("d", points),)


def _number(element: Element, name: str, where: str, default: float | None = None) -> float:
    text = element.get(name)
    try:
        value = default if text is None and default is not None else float(text or "")
        if not math.isfinite(value):
            raise ValueError(text)
        return value
    except ValueError as error:
        raise UserError(f"{where}: {element.tag} with {name}={text!r}; a number expected") from error
