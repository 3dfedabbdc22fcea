"""What a run makes of the pixels that an image file stores: EXIF orientation, and more than 8 bits a channel."""

import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.config.schema_dataset import DatasetConfig
from pipeline.data.image_files import open_image

warnings.filterwarnings("ignore", module=r"PIL\.TiffImagePlugin")  # of damaged EXIF data, which are ignored

ORIENTATION = 0x0112  # the EXIF tag for how a viewer turns the stored pixels
TURNED = {  # what viewers do for each orientation but 1 (CIPA DC-008, 4.6.4)
    2: "mirrored from left to right",
    3: "turned by 180 degrees",
    4: "mirrored from top to bottom",
    5: "mirrored along the diagonal from the top left",
    6: "turned by 90 degrees clockwise",
    7: "mirrored along the diagonal from the top right",
    8: "turned by 90 degrees anticlockwise",
}
TRANSPOSED, ROWS_REVERSED, COLUMNS_REVERSED = (5, 6, 7, 8), (3, 4, 7, 8), (2, 3, 6, 7)  # in this order, by orientation
SIDES_SWAPPED = TRANSPOSED
MARKS = (b"eXIf", b"Raw profile type exif", b"tiff:Orientation")  # a PNG without any of them has no orientation
DAMAGED_EXIF = (OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, struct.error)  # raised by Pillow


@dataclass(frozen=True)
class PixelRules:
    """How a run reads image files: `dataset.exif` and `dataset.intensity`."""

    exif: str = "refuse"  # refuse, apply or ignore
    intensity: tuple[float, float] | None = None

    @classmethod
    def of(cls, dataset: DatasetConfig) -> "PixelRules":
        """Those of a configuration."""
        return cls(dataset.exif, None if dataset.intensity is None else (dataset.intensity[0], dataset.intensity[1]))

    @property
    def name(self) -> str:
        """For names of files whose content depends on the rules."""
        return "-".join(map(str, (self.exif, *(self.intensity or ()))))

    def turn(self, orientation: int) -> int:
        """The orientation by which an image of this EXIF orientation is turned: 1, not at all, unless it is applied."""
        return orientation if self.exif == "apply" else 1


def orientation_of(opened: Image.Image) -> int:
    """The EXIF orientation of an image, 1 to 8, as Pillow finds it.

    1, as for viewers, if it is missing, undefined (0 or 9), or its EXIF data are damaged.
    """
    try:
        found = opened.getexif().get(ORIENTATION, 1)
    except DAMAGED_EXIF:
        return 1
    return found if isinstance(found, int) and found in TURNED else 1


def read_orientation(path: Path) -> int:
    """`orientation_of` a JPEG or PNG file; the pixels of a PNG are decoded only if it has EXIF data.

    Raises:
        OSError, SyntaxError, ValueError: it is not an image.
    """
    with open_image(path) as opened:
        if opened.format == "PNG" and not has_marks(path.read_bytes()):
            return 1
        return orientation_of(opened)


def has_marks(png: bytes) -> bool:
    """Whether the bytes of a PNG can hold an orientation."""
    return any(mark in png for mark in MARKS)


def turn_array(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels as viewers display them; `pipeline.data.decode.turn_image` does the same in a graph.

    Args:
        pixels: (height, width, …).
        orientation: of the EXIF data, 1 to 8.

    Returns:
        The same dtype, (width, height, …) for orientations 5 to 8.
    """
    if orientation in TRANSPOSED:
        pixels = pixels.swapaxes(0, 1)
    if orientation in ROWS_REVERSED:
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in COLUMNS_REVERSED else pixels


def displayed_size(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    """The two sides of an image as viewers display it, in the order of `size`."""
    return (size[1], size[0]) if orientation in SIDES_SWAPPED else size


def scaled_values(low: float, high: float) -> np.ndarray:
    """What each value of 16 bits becomes, (65536,) uint8: (value - low) * 255 / (high - low), clipped to 0 and 255.

    Halves are rounded to even. In float64, so that every path gives the same numbers.
    """
    values = np.arange(2**16, dtype=np.float64)
    return np.clip(np.rint((values - low) * 255 / (high - low)), 0, 255).astype(np.uint8)


def has_16_bits(path: Path) -> bool:
    """Whether a file is a PNG of 16 bits a channel; a JPEG that can be decoded has 8."""
    with path.open("rb") as file:
        head = file.read(25)
    return head.startswith(b"\x89PNG\r\n\x1a\n") and head[24:] == b"\x10"  # ISO/IEC 15948, 11.2.2
