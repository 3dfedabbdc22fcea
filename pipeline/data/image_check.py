"""Checks one image file before training or prediction: can it be decoded, and is it certain which pixels it has?"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.decode import decode_16_bits, decode_file
from pipeline.data.image_files import UNDECODABLE, open_whole, undecodable
from pipeline.data.palette import VOID
from pipeline.data.pixels import (
    TURNED,
    PixelRules,
    displayed_size,
    has_16_bits,
    has_marks,
    orientation_of,
    read_orientation,
)

Size = tuple[int, int]  # width, height
ORIENTED, DEEP = "has EXIF orientation", "has 16 bits a channel"


@dataclass(frozen=True)
class CheckedImage:
    """What is known of an image that Pillow can decode."""

    stored: Size
    orientation: int  # of its EXIF data, 1 to 8

    @property
    def displayed(self) -> Size:
        """Its size as viewers display it."""
        return displayed_size(self.stored, self.orientation)


def check_image(path: Path, name: str, rules: PixelRules) -> tuple[list[str], CheckedImage | None]:
    """Check one image, but for its orientation; see `orientation_fault` and `size_fault`.

    Args:
        name: of the image, for messages.

    Returns:
        The faults, and what is known of the image; None if Pillow cannot decode it.
    """
    found = None
    try:
        with open_whole(path) as opened:
            found = CheckedImage(opened.size, orientation_of(opened))
            bare_cmyk = opened.mode == "CMYK" and "adobe" not in opened.info
        if has_16_bits(path) and rules.intensity is None:
            values = decode_16_bits(path)
            return [f"{name}: {DEEP}, with values from {values.min()} to {values.max()}"], found
        decode_file(path)  # Pillow reads some damaged files that would stop the training
    except UNDECODABLE as error:
        return [f"{name}: {undecodable(error)}"], found
    if bare_cmyk:
        return [
            f"{name}: is a CMYK JPEG without Adobe's marker, which some programs read with inverted colours; "
            "save it as RGB"
        ], found
    return [], found


def orientation_fault(name: str, image: CheckedImage, rules: PixelRules, mask: Size | None = None) -> str | None:
    """The fault of an image whose EXIF orientation is neither applied nor ignored; else None.

    Args:
        mask: the size of its mask, which may show in which of the two frames it was drawn.
    """
    if image.orientation == 1 or rules.exif != "refuse":
        return None
    stored, displayed = (f"{width}x{height}" for width, height in (image.stored, image.displayed))
    fault = f"{name}: {ORIENTED} {image.orientation}: displayed {TURNED[image.orientation]}"
    if stored != displayed:
        fault += f", {displayed}, but stored as {stored}"
    if mask is None or image.stored == image.displayed == mask:
        return fault
    fits = {image.displayed: "fits the displayed image", image.stored: "fits the stored pixels"}
    return f"{fault}; its mask {fits.get(mask, f'is {mask[0]}x{mask[1]}')}"


def size_fault(name: str, mask_name: str, image: CheckedImage, rules: PixelRules, mask: Size) -> str | None:
    """The fault of a mask that has another size than its image as the run reads it; else None."""
    size = image.displayed if rules.exif == "apply" else image.stored
    if size == mask:
        return None
    fault = f"{mask_name}: is {mask[0]}x{mask[1]}, but its image {name} is {size[0]}x{size[1]}"
    if image.orientation == 1:
        return fault
    if rules.exif == "apply":
        as_stored = "; dataset.exif=ignore takes it as stored, where the mask fits" if mask == image.stored else ""
        return f"{fault} as displayed, by its EXIF orientation {image.orientation}{as_stored}"
    as_displayed = "; dataset.exif=apply turns it so that the mask fits" if mask == image.displayed else ""
    return f"{fault} as stored, without its EXIF orientation {image.orientation}{as_displayed}"


def mask_orientation_fault(path: Path, name: str, rules: PixelRules) -> str | None:
    """The fault of a mask that viewers display turned: it is not clear in which frame it was drawn; else None.

    Raises:
        OSError, SyntaxError, ValueError: it is not a PNG.
    """
    if rules.exif == "ignore" or not has_marks(path.read_bytes()) or (orientation := read_orientation(path)) == 1:
        return None
    return (
        f"{name}: is a mask with EXIF orientation {orientation}; save it without, as it fits its displayed image; or "
        "dataset.exif=ignore, which takes images and masks as they are stored"
    )


def label_fault(name: str, labels: np.ndarray, classes: int) -> str | None:
    """The fault of a mask with labels that no class has; else None.

    Args:
        labels: (height, width) uint8, 255 where void.
    """
    outside = [label for label in np.unique(labels).tolist() if label >= classes and label != VOID]
    if not outside:
        return None
    return (
        f"{name}: holds label {', '.join(map(str, outside[:5]))}; "
        f"0 to {classes - 1} ({classes} dataset.classes) or {VOID} for void expected"
    )


def ways_out(faults: Sequence[str], rules: PixelRules) -> list[str]:
    """What to do about faults of orientations and of 16 bits, a line for each kind that is among them."""
    lines = []
    if rules.exif == "refuse" and any(f": {ORIENTED} " in fault for fault in faults):
        lines.append(
            "dataset.exif=refuse: such images can be read in two ways: dataset.exif=apply turns them as viewers do, "
            "for masks drawn on the displayed image; dataset.exif=ignore takes their pixels as they are stored"
        )
    values = (re.search(rf": {DEEP}, with values from (\d+) to (\d+)$", fault) for fault in faults)
    if ranges := [match.groups() for match in values if match]:
        low, high = min(int(low) for low, _ in ranges), max(int(high) for _, high in ranges)
        lines.append(
            "dataset.intensity=null: the range that becomes 0 to 255 is needed, one for all images: "
            f"'dataset.intensity=[low,high]', for example [0,4095] for 12 bits; these values are from {low} to {high}, "
            "and values outside of the range are clipped"
        )
    return lines


def range_fault(paths: Iterable[Path], rules: PixelRules) -> str | None:
    """The fault of a range of values in which no 16-bit image has a value; else None.

    Raises:
        ValueError: an image is damaged.
    """
    if rules.intensity is None:
        return None
    low, high = rules.intensity
    ends: list[int] = []
    for path in paths:
        if has_16_bits(path):
            values = decode_16_bits(path)
            if ((values > low) & (values < high)).any():
                return None
            ends += [int(values.min()), int(values.max())]
    if not ends:
        return None
    return (
        f"dataset.intensity=[{low:g},{high:g}]: no image of 16 bits a channel has a value in this range, so each "
        f"would be black and white; their values are from {min(ends)} to {max(ends)}"
    )
