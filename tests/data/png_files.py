"""PNG files byte by byte, such as Pillow would not write."""

import struct
import zlib


def grey_png(width: int, height: int, bits: int, data: bytes) -> bytes:
    """A grey PNG that claims this size; `data` are its compressed rows."""

    def chunk(content: bytes) -> bytes:
        return struct.pack(">I", len(content) - 4) + content + struct.pack(">I", zlib.crc32(content))

    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(header) + chunk(b"IDAT" + data) + chunk(b"IEND")


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims this size and holds no pixels."""
    return grey_png(width, height, 8, b"")
