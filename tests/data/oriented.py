"""Images with EXIF orientations, as cameras write them, and PNGs of 16 bits a channel."""

import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

ORIENTATION = 0x0112
# What turns the displayed pixels into those that a camera of this orientation stores: the inverse of what viewers do.
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def as_stored(displayed: Image.Image, orientation: int) -> Image.Image:
    """The pixels that a file of this orientation stores for an image to be displayed."""
    method = STORED[orientation]
    return displayed if method is None else displayed.transpose(method)


def save_oriented(stored: Image.Image, path: Path, orientation: int) -> None:
    """Write a JPEG or PNG with this EXIF orientation."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored.save(path, exif=exif, **({"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {}))


def png_of_16_bits(values: np.ndarray) -> bytes:
    """A PNG of (height, width, channels) uint16: grey, grey and alpha, colours, or colours and alpha."""

    def chunk(content: bytes) -> bytes:
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    height, width, channels = values.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR" + header) + chunk(b"IDAT" + zlib.compress(rows)) + chunk(b"IEND")
