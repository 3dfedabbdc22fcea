"""Images of any kind become what the pipeline reads: JPEG or PNG of 8 bits, as viewers display them.

A JPEG or PNG that needs no change keeps its bytes. Others are decoded, scaled to 8 bits, turned and made smaller; what
was a JPEG is written as JPEG of quality 95 without subsampling of colours, everything else as PNG.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.convert.damaged import as_value_error
from pipeline.convert.extra import import_extra
from pipeline.data.image_files import MAX_PIXELS, PNG_END, open_image
from pipeline.data.pixels import displayed_size, has_marks, orientation_of, turn_array
from pipeline.runtime.files import link_or_copy

FORMATS = ("JPEG", "PNG", "BMP", "TIFF", "WEBP", "GIF")
ENDINGS = (".jpg", ".png")  # of what is written
QUALITY = 95
THUMBNAIL = 128  # shorter side in pixels, at least, of what images are compared by
BITS_PER_SAMPLE, SAMPLES = 258, 277  # tags of TIFF
PNG_START = b"\x89PNG\r\n\x1a\n"
DEEP_PNG = b"\x10"  # bits of a channel, in the header of a PNG of 16
Size = tuple[int, int]  # width, height


@dataclass(frozen=True)
class Recipe:
    """What is made of images: the same for all."""

    max_side: int | None = None
    intensity: tuple[float, float] | None = None  # values that become 0 and 255, in images of more than 8 bits


@dataclass(frozen=True)
class SourceImage:
    """An image, decoded and ready to be written.

    Of a JPEG without changes `pixels` is a grey thumbnail: all of its bytes are decoded for that, too, and faster.
    """

    pixels: np.ndarray  # (height, width, 3) or (height, width) uint8, as displayed, before it is made smaller
    orientation: int  # of its EXIF data, which was applied
    stored: Size
    changes: tuple[str, ...]  # in words; none: the file itself can be taken
    ending: str  # of the file to write

    @property
    def displayed(self) -> Size:
        """Width and height as viewers display it."""
        return displayed_size(self.stored, self.orientation)


@as_value_error()
def read_image(path: Path, recipe: Recipe) -> SourceImage:
    """Decode an image.

    Raises:
        OSError, SyntaxError, ValueError: it is damaged, too large, of another format, or of more than 8 bits without
            a range in the recipe.
    """
    changes = []
    with open_image(path, FORMATS) as opened:
        form, mode = opened.format, opened.mode
        lossy = form in ("JPEG", "MPO")
        if form in ("TIFF", "GIF") and getattr(opened, "n_frames", 1) > 1:
            raise ValueError(f"holds {opened.n_frames} images; save each as a file of its own")  # type: ignore[attr-defined]
        content = path.read_bytes() if form == "PNG" else b""
        deep = is_deep(opened, content)
        if mode == "CMYK" and lossy and "adobe" not in opened.info:
            raise ValueError("is a CMYK JPEG without Adobe's marker, which some programs read inverted; save it as RGB")
        has_exif = form != "PNG" or has_marks(content)
        stored = opened.size
        shrinks = recipe.max_side is not None and max(stored) > recipe.max_side
        if form == "JPEG" and mode in ("L", "RGB") and not shrinks and orientation_of(opened) == 1:
            opened.draft("L", (THUMBNAIL, THUMBNAIL))
            opened.load()
            return SourceImage(np.asarray(opened), 1, stored, (), ".jpg")
        if deep:
            if recipe.intensity is None:
                raise ValueError("has more than 8 bits a channel; intensity=[low,high] expected")
            pixels = scale(deep_values(path, opened), recipe.intensity)
            changes.append("scaled to 8 bits")
        else:
            opened.load()
            if form == "PNG" and PNG_END not in content:
                raise ValueError("the file ends too early")
            plain = mode in ("RGB", "L", "P", "1") and "transparency" not in opened.info
            if not plain:
                has_alpha = mode in ("RGBA", "LA", "PA") or "transparency" in opened.info
                changes.append("transparency dropped" if has_alpha else f"{mode} to RGB")
            pixels = np.asarray(opened.convert("L" if mode in ("1", "L") else "RGB"))
        orientation = orientation_of(opened) if has_exif else 1
    if orientation != 1:
        pixels = turn_array(pixels, orientation)
        changes.append("EXIF orientation applied")
    if form not in ("JPEG", "MPO", "PNG"):
        changes.append(f"{form} to PNG")
    if shrinks:
        changes.append(f"made smaller, to {recipe.max_side}")
    return SourceImage(pixels, orientation, stored, tuple(changes), ".jpg" if lossy else ".png")


def is_deep(opened: Image.Image, content: bytes) -> bool:
    """Whether an image has more than 8 bits a channel.

    Args:
        content: the file's first bytes, which are looked at if it is a PNG.
    """
    if opened.format == "TIFF":
        bits = opened.tag_v2.get(BITS_PER_SAMPLE, (1,))  # type: ignore[attr-defined]
        return max(bits if isinstance(bits, tuple) else (bits,)) > 8
    if opened.format == "PNG":
        return content[24:25] == DEEP_PNG  # ISO/IEC 15948, 11.2.2
    return False


def deep_values(path: Path, opened: Image.Image) -> np.ndarray:
    """The values of an image of more than 8 bits, (height, width) or (height, width, 3), of any number type.

    Raises:
        OSError, ValueError: it cannot be decoded, or does not have 1, 3 or 4 channels.
        UserError: tifffile is missing.
    """
    if opened.format == "PNG" and opened.mode in ("RGB", "RGBA"):
        return _png_of_16_bits(path)
    if opened.format == "PNG" or (opened.mode.startswith(("I", "F")) and opened.tag_v2.get(SAMPLES, 1) == 1):  # type: ignore[attr-defined]
        return np.asarray(opened)
    tifffile = import_extra("tifffile", path)
    values = np.asarray(tifffile.imread(path))  # its TiffFileError is a ValueError
    if values.ndim == 3 and values.shape[0] in (3, 4) and values.shape[2] not in (3, 4):
        values = np.moveaxis(values, 0, 2)
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] not in (3, 4)):
        raise ValueError(f"has the shape {values.shape}; one channel or three expected")
    if values.shape[0] * values.shape[1] > MAX_PIXELS:
        raise ValueError(f"more than {MAX_PIXELS} pixels")
    return values if values.ndim == 2 else values[..., :3]


def _png_of_16_bits(path: Path) -> np.ndarray:
    """The values of a PNG in colour or with transparency, which is dropped, (height, width[, 3]) uint16.

    Pillow keeps one byte of each value: the first or the second, by the order of bytes that it is given.
    """
    with open_image(path, ("PNG",)) as opened:
        orders = [raw.replace(";16B", end) for raw in {tile.args for tile in opened.tile} for end in (";16B", ";16L")]  # type: ignore[attr-defined]
    if orders[0].startswith("LA"):  # the bytes of grey and transparency are decoded as four channels
        pixels = _decoded_as(path, "RGBA")
        return (pixels[..., 0] << 8) | pixels[..., 1]
    high, low = (_decoded_as(path, order)[..., :3] for order in orders)
    return (high << 8) | low


def _decoded_as(path: Path, raw_mode: str) -> np.ndarray:
    with open_image(path, ("PNG",)) as opened:
        opened.tile = [tile._replace(args=raw_mode) for tile in opened.tile]  # type: ignore[attr-defined]
        opened.load()
        return np.asarray(opened).astype(np.uint16)


def scale(values: np.ndarray, intensity: tuple[float, float]) -> np.ndarray:
    """The values as uint8: low becomes 0, high 255, linearly; halves are rounded to even, others are clipped."""
    low, high = intensity
    scaled = (values.astype(np.float64) - low) * 255 / (high - low)
    return np.clip(np.rint(np.nan_to_num(scaled, nan=0.0)), 0, 255).astype(np.uint8)


def value_range(root: Path, name: str) -> tuple[float, float] | None:
    """The lowest and highest value of an image of more than 8 bits; None for any other, and for one with faults."""
    path = root / name
    try:
        with path.open("rb") as file:
            head = file.read(25)
        if head.startswith(PNG_START) and head[24:] != DEEP_PNG:
            return None  # as most are, without the time to open them as images
        with as_value_error(), open_image(path, FORMATS) as opened:
            if not is_deep(opened, head):
                return None
            values = deep_values(path, opened)
    except (OSError, SyntaxError, ValueError):
        return None  # reported with its name when it is converted
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else None


def smaller(size: Size, max_side: int | None) -> Size:
    """The size with its longer side at most `max_side`, its shape unchanged but for rounding."""
    longer = max(size)
    if max_side is None or longer <= max_side:
        return size
    width, height = (max(1, round(side * max_side / longer)) for side in size)
    return width, height


def write_image(path: Path, found: SourceImage, size: Size, target: Path) -> None:
    """Write an image: the source's bytes, as a hard link where that is possible, if it needs no change."""
    if not found.changes:
        link_or_copy(path, target)
        return
    image = Image.fromarray(found.pixels)
    if image.size != size:
        image = image.resize(size, Image.Resampling.LANCZOS)
    if found.ending == ".jpg":
        image.save(target, format="JPEG", quality=QUALITY, subsampling=0)
    else:
        image.save(target, format="PNG", compress_level=3)
