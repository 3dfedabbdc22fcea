"""Opens image files with Pillow and makes sure that they are whole: before training, prediction and comparison."""

import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

warnings.filterwarnings("error", category=Image.DecompressionBombWarning)  # Pillow's own cap, above MAX_PIXELS

MAX_PIXELS = 2**26  # 67 megapixels; a larger image is a mistake or an attack (a "decompression bomb")
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
UNDECODABLE = (OSError, SyntaxError, ValueError)  # raised for a file that is not a whole image


def open_image(path: Path, formats: tuple[str, ...] = ("JPEG", "PNG")) -> Image.Image:
    """Open an image by its header: only JPEG or PNG, and not larger than `MAX_PIXELS`; pixels are not decoded yet.

    Raises:
        OSError, ValueError: Pillow cannot open it, or it is too large.
    """
    try:
        image = Image.open(path, formats=formats)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(str(error)) from error  # their classes are not in UNDECODABLE
    if image.width * image.height > MAX_PIXELS:
        image.close()
        raise ValueError(f"{image.width}x{image.height} pixels are more than the {MAX_PIXELS} allowed")
    return image


def open_whole(path: Path, formats: tuple[str, ...] = ("JPEG", "PNG")) -> Image.Image:
    """Open and decode an image, and make sure that it is whole to its last byte.

    Pillow accepts a PNG that is damaged or cut after its pixels; TensorFlow, which decodes for training, does not.

    Raises:
        OSError, SyntaxError, ValueError: it is damaged, incomplete, too large, or not of these formats.
    """
    with open_image(path, formats) as opened:
        opened.verify()  # the checksums of a PNG
        if opened.format == "PNG" and PNG_END not in path.read_bytes():
            raise ValueError("the file ends too early")
    image = open_image(path, formats)
    image.load()
    return image


class NoIndices(ValueError):
    """A whole PNG whose pixels are not class indices."""


def read_index_mask(path: Path) -> np.ndarray:
    """The class indices of a palette or one-channel PNG, (height, width) uint8; a palette's colours do not matter.

    Raises:
        NoIndices: it holds colours, or grey that Pillow would stretch to other values.
        OSError, SyntaxError, ValueError: it is not a whole PNG.
    """
    with open_whole(path, ("PNG",)) as opened:
        if (kind := _kind_without_indices(path, opened.mode)) is not None:
            change = ": save it with 8 bits, its values unchanged" if kind.startswith("grey") else ""
            raise NoIndices(f"is {kind}; a palette or one-channel 8-bit PNG of indices expected{change}")
        return np.array(opened, np.uint8)


def _kind_without_indices(path: Path, mode: str) -> str | None:
    """The kind of a PNG that cannot hold indices; None for one that can.

    Pillow stretches grey of two and four bits to 0..255, which would be other indices.

    Args:
        mode: what Pillow opened it as.
    """
    if mode.startswith("I"):
        return "grey of 16 bits"
    if mode not in ("P", "L", "1"):
        return mode
    with path.open("rb") as file:
        bits, colour_type = file.read(26)[24:]  # of the header (ISO/IEC 15948, 11.2.2)
    return f"grey of {bits} bits" if colour_type == 0 and bits not in (1, 8) else None


def undecodable(error: Exception) -> str:
    """Why an image cannot be used, for a message that begins with its name.

    Args:
        error: one of UNDECODABLE, as raised for the image.
    """
    if isinstance(error, UnidentifiedImageError):
        return "is not a JPEG or PNG file, or its header is damaged"
    if isinstance(error, OSError) and error.errno is not None:
        return f"cannot be read: {os.strerror(error.errno)}"
    return str(error) if isinstance(error, NoIndices) else f"cannot be decoded: {error}"
