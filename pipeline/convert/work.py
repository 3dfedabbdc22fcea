"""One image of a source becomes one of the output: decoded, checked, written; and what is known of it then."""

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.convert.images import THUMBNAIL, Recipe, SourceImage, read_image, smaller, write_image
from pipeline.convert.source import Item, UnknownLabels
from pipeline.data.duplicates import appearance_of
from pipeline.data.image_files import UNDECODABLE, undecodable
from pipeline.data.layout import IMAGES, MASKS
from pipeline.data.palette import VOID
from pipeline.data.pixels import turn_array
from pipeline.evaluate.overlay import to_palette_png

RUN_LENGTHS = 3  # zlib's Z_RLE: masks of a few areas are smaller, and in a third of the time, than with its level 5
AS_DISPLAYED, AS_STORED = "displayed", "stored"


@dataclass(frozen=True, slots=True)
class Task:
    """What is done with all images of a source."""

    root: Path  # of the source
    recipe: Recipe
    classes: int
    palette: bytes  # of masks, 256 colours
    folder: Path | None  # that is written to; None: nothing is written


@dataclass(frozen=True, slots=True)
class Done:
    """What is known of an image."""

    fault: str | None = None
    unknown: Counter[str] | None = None  # pixels of values and colours without a class
    size: tuple[int, int] = (0, 0)  # width, height as written
    class_pixels: np.ndarray | None = None  # (classes,) int64, as written
    void_pixels: int = 0
    image_hash: str = ""  # SHA-256 of the source's bytes, and of what was changed
    mask_hash: str = ""  # SHA-256 of the indices and their shape
    appearance: np.ndarray | None = None  # see `pipeline.data.duplicates.appearance`
    changes: tuple[str, ...] = ()  # of the image
    frame: str | None = None  # in which the mask of an image with an EXIF orientation was drawn; None: no orientation


def convert_one(task: Task, item: Item) -> Done:
    """Convert an image and its mask."""
    path = task.root / item.image
    try:
        found = read_image(path, task.recipe)
    except UNDECODABLE as error:
        return Done(fault=f"{path}: {_reason(error)}")
    try:
        mask, frame = _in_displayed_frame(item.mask.read(found.displayed), found)
    except UnknownLabels as error:
        return Done(unknown=error.pixels)
    except UNDECODABLE as error:
        return Done(fault=f"{item.mask_name}: {_reason(error)}")
    width, height = found.displayed
    if mask.shape != (height, width):
        return Done(
            fault=f"{item.mask_name}: is {mask.shape[1]}x{mask.shape[0]}, but its image {path.name} is {width}x{height}"
        )
    size = smaller(found.displayed, task.recipe.max_side)
    if size != found.displayed:
        mask = np.asarray(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    if task.folder is not None:
        _write(task, item, found, size, mask)
    counts = np.array(Image.fromarray(mask).histogram(), np.int64)
    return Done(
        size=size,
        class_pixels=counts[: task.classes].copy(),  # without the memory of all 256
        void_pixels=int(counts[VOID]),
        image_hash=_image_hash(path, found, task.recipe),
        mask_hash=_mask_hash(mask),
        appearance=_appearance(found.pixels),
        changes=found.changes,
        frame=frame,
    )


def _in_displayed_frame(mask: np.ndarray, found: SourceImage) -> tuple[np.ndarray, str | None]:
    """The mask as it fits the displayed image, and the frame that it was drawn in, by its size.

    Where both frames have the same size, it is taken as drawn on the displayed image, as labelling tools show it.
    """
    if found.orientation == 1:
        return mask, None
    size = (mask.shape[1], mask.shape[0])
    if size == found.displayed or size != found.stored:
        return mask, AS_DISPLAYED
    return np.ascontiguousarray(turn_array(mask, found.orientation)), AS_STORED


def _write(task: Task, item: Item, found: SourceImage, size: tuple[int, int], mask: np.ndarray) -> None:
    assert task.folder is not None
    image_file = task.folder / f"{IMAGES}/{item.id}{found.ending}"
    mask_file = task.folder / f"{MASKS}/{item.id}.png"
    if "/" in item.id:
        for file in (image_file, mask_file):
            file.parent.mkdir(parents=True, exist_ok=True)
    write_image(task.root / item.image, found, size, image_file)
    png = to_palette_png(np.ascontiguousarray(mask), np.frombuffer(task.palette, np.uint8).reshape(-1, 3))
    png.save(mask_file, format="PNG", compress_type=RUN_LENGTHS)


def _appearance(pixels: np.ndarray) -> np.ndarray | None:
    grey = Image.fromarray(pixels).convert("L")
    factor = min(grey.size) // THUMBNAIL
    return appearance_of(grey.reduce(factor) if factor > 1 else grey)  # which is faster than from all pixels


def _image_hash(path: Path, found: SourceImage, recipe: Recipe) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    if found.changes:
        digest.update(repr((found.changes, recipe)).encode())
    return digest.hexdigest()


def _mask_hash(mask: np.ndarray) -> str:
    digest = hashlib.sha256(str(mask.shape).encode())
    digest.update(np.ascontiguousarray(mask).data)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    text = undecodable(error)
    return text.replace("is not a JPEG or PNG file", "is not an image of a known format")
