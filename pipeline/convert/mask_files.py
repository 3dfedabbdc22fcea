"""Mask files as numbers: their values or colours, looked up in a table of classes."""

import functools
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from pipeline.config.classes import hexadecimal
from pipeline.convert.damaged import as_value_error
from pipeline.convert.one_hot import is_one_hot, numbers_of_channels, read_channels, read_numpy
from pipeline.convert.source import Size, UnknownLabels
from pipeline.data.file_roles import NUMPY
from pipeline.data.image_files import open_image
from pipeline.data.palette import Colour

FORMATS = ("PNG", "BMP", "TIFF", "WEBP", "GIF", "JPEG")
COLOURS = 2**24  # of 8 bits a channel
VALUES = 2**16
LOSSY = (".jpg", ".jpeg")
STRONG = 0.75  # of the strongest channel of a file, which a pixel that is no edge exceeds
FAINT = 16  # the strongest channel of what JPEG or blurring makes of black, at most


@dataclass(frozen=True)
class Stored:
    """The pixels of a mask file."""

    values: np.ndarray | None  # (height, width) uint8 or uint16: grey, indices of a palette, or numbers of channels
    colours: np.ndarray | None  # (height, width, 3) uint8, for files of colours, also if these may be channels
    palette: np.ndarray | None = None  # (up to 256, 3) uint8, for indices
    channels: int = 0  # of a file with one for each class, whose values are their numbers, from 1; 0: of any other

    def packed(self) -> np.ndarray:
        """Each pixel's colour as a number, (height, width) int32: red * 65536 + green * 256 + blue."""
        if self.colours is not None:
            red, green, blue = (self.colours[..., channel].astype(np.int32) for channel in range(3))
            return (red << 16) | (green << 8) | blue
        assert self.values is not None
        return np.asarray(self.keys()[np.minimum(self.values, 255)])

    def keys(self) -> np.ndarray:
        """The colour of each value as a number, as `packed`, (256,) int32."""
        if self.palette is None:
            return np.arange(256, dtype=np.int32) * 0x010101
        table = np.zeros(256, np.int32)
        parts = self.palette.astype(np.int32)
        table[: len(parts)] = (parts[:, 0] << 16) | (parts[:, 1] << 8) | parts[:, 2]
        return table


@as_value_error()
def read_stored(path: Path) -> Stored:
    """Decode a mask file; transparency is dropped.

    Raises:
        OSError, SyntaxError, ValueError: it is damaged, too large, or of a kind that is no mask.
    """
    if path.suffix.lower() == NUMPY:
        return _of_array(read_numpy(path))
    try:
        image = open_image(path, FORMATS)
    except UnidentifiedImageError:
        if path.suffix.lower() not in (".tif", ".tiff"):
            raise
        return _of_array(read_channels(path))  # of more channels than Pillow knows
    with image as opened:
        if getattr(opened, "n_frames", 1) > 1:
            if opened.format == "TIFF":
                return _of_array(read_channels(path))
            raise ValueError(f"holds {opened.n_frames} images; one expected")  # type: ignore[attr-defined]
        if opened.format == "PNG" and opened.mode == "L" and (bits := _grey_bits(path)) in (2, 4):
            stretched = np.array(opened, np.uint8)  # by Pillow, to 0 to 255
            return Stored(stretched // (255 // (2**bits - 1)), None)
        if opened.format == "GIF":  # whose indices are whatever the program found best
            return Stored(None, np.array(opened.convert("RGB"), np.uint8))
        if opened.mode == "P":
            indices = np.array(opened, np.uint8)
            colours = np.frombuffer(bytes(opened.getpalette("RGB") or ()), np.uint8).reshape(-1, 3)
            return Stored(indices, None, colours)
        if opened.mode in ("1", "L"):
            return Stored(np.array(opened, np.uint8), None)
        if opened.mode == "LA":
            return Stored(np.array(opened.getchannel(0), np.uint8), None)
        if opened.mode.startswith(("I", "F")):  # of more than 8 bits, or of floating point
            return _of_array(np.array(opened))
        if opened.mode in ("RGB", "RGBA", "CMYK", "YCbCr"):
            if opened.mode.startswith("RGB") and is_one_hot(channels := np.array(opened)):
                return replace(_of_array(channels), colours=channels[..., :3])  # which a PNG of ids may look like, too
            return Stored(None, np.array(opened.convert("RGB"), np.uint8))
        raise ValueError(f"is {opened.mode}; values or colours expected")


def _of_array(values: np.ndarray) -> Stored:
    """A mask of numbers, or of channels.

    Raises:
        ValueError: they are no values of a mask.
    """
    if values.ndim == 3:
        return Stored(numbers_of_channels(values), None, channels=values.shape[2])
    with np.errstate(invalid="ignore"):  # of what is no number, which is refused
        whole = values.astype(np.int64)
    if whole.min() < 0 or whole.max() >= VALUES or (values.dtype.kind == "f" and (whole != values).any()):
        raise ValueError(f"holds values from {values.min()} to {values.max()}; 0 to {VALUES - 1}, whole, expected")
    return Stored(whole.astype(np.uint8 if whole.max() < 256 else np.uint16), None)


def _grey_bits(path: Path) -> int:
    with path.open("rb") as file:
        return file.read(25)[24]  # of the header (ISO/IEC 15948, 11.2.2)


@dataclass(frozen=True)
class Table:
    """Which class each value or colour is."""

    by_colour: bool
    entries: tuple[tuple[int, int], ...]  # value, or packed colour, and class index or 255
    tolerance: int | None = None  # greatest difference of a channel, to the nearest entry; None: 0

    def look_up(self, stored: Stored) -> np.ndarray:
        """The class index of each pixel, (height, width) uint8.

        Raises:
            UnknownLabels: values or colours are in no entry, nor within the tolerance of one.
        """
        if stored.values is not None and stored.values.dtype == np.uint8 and not (self.by_colour and stored.channels):
            return self._of_bytes(stored.values, stored.keys() if self.by_colour else np.arange(256))
        if self.by_colour:
            keys = stored.packed()
        elif stored.values is not None:
            keys = stored.values.astype(np.int32)
        else:
            assert stored.colours is not None
            grey = stored.colours[..., 0]
            if not ((stored.colours[..., 1] == grey) & (stored.colours[..., 2] == grey)).all():
                raise UnknownLabels(_named(stored.packed()[(stored.colours != grey[..., None]).any(axis=2)], True))
            keys = grey.astype(np.int32)
        found = _lut(self)[keys]
        unknown = found < 0
        if unknown.any():
            found[unknown] = self.nearest(keys[unknown])
        return found.astype(np.uint8)

    def _of_bytes(self, values: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """`look_up` for values of 8 bits: in a table of 256.

        Args:
            keys: what each value stands for, (256,) int32.
        """
        table = _lut(self)[keys]
        found = np.take(table, values)
        if found.min() < 0:
            present = np.flatnonzero(Image.fromarray(values).histogram())
            unknown = present[table[present] < 0]
            try:
                table[unknown] = self.nearest(keys[unknown])
            except UnknownLabels:  # with the pixels of each
                self.nearest(keys[values[found < 0]])
                raise
            found = np.take(table, values)
        return found.astype(np.uint8)

    def nearest(self, keys: np.ndarray) -> np.ndarray:
        """The index of the entry nearest to each of these keys, (n,) int16.

        Raises:
            UnknownLabels: keys are not within the tolerance of one.
        """
        distinct, places = np.unique(keys, return_inverse=True)
        known = np.array([key for key, _ in self.entries], np.int64)
        apart = _channels(distinct, self.by_colour)[:, None] - _channels(known, self.by_colour)[None]
        away = np.abs(apart).max(axis=2)
        if (away.min(axis=1) > (self.tolerance or 0)).any():
            outside = away.min(axis=1) > (self.tolerance or 0)
            raise UnknownLabels(_named(keys[outside[places]], self.by_colour))
        indices = np.array([index for _, index in self.entries], np.int16)
        return np.asarray(indices[away.argmin(axis=1)][places])


def _channels(keys: np.ndarray, by_colour: bool) -> np.ndarray:
    """(n, 3) for colours, (n, 1) for values."""
    if not by_colour:
        return keys.astype(np.int64)[:, None]
    return np.stack([keys >> 16, (keys >> 8) & 255, keys & 255], axis=1).astype(np.int64)


@functools.lru_cache(maxsize=2)
def _lut(table: Table) -> np.ndarray:
    """The class index of each value or packed colour, int16; -1: none. Of colours it has 32 MB."""
    found = np.full(COLOURS if table.by_colour else VALUES, -1, np.int16)
    for key, index in table.entries:
        found[key] = index
    return found


def _named(keys: np.ndarray, by_colour: bool) -> Counter[str]:
    """How often each of these keys occurs, as a person types them."""
    distinct, counts = np.unique(keys, return_counts=True)
    most = np.argsort(-counts, kind="stable")[:100]
    return Counter({key_text(int(distinct[place]), by_colour): int(counts[place]) for place in most})


def key_text(key: int, by_colour: bool) -> str:
    """A value, or a packed colour as `#rrggbb`."""
    return hexadecimal(colour_of_key(key)) if by_colour else str(key)


def colour_of_key(key: int) -> Colour:
    """A packed colour as RGB."""
    return key >> 16, (key >> 8) & 255, key & 255


def key_of_colour(colour: Colour) -> int:
    """RGB as one number."""
    return (colour[0] << 16) | (colour[1] << 8) | colour[2]


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A mask in one file, whose values or colours say the class."""

    root: Path
    name: str  # relative to the root: a path for each mask would take five times the memory
    table: Table

    def read(self, size: Size) -> np.ndarray:
        """See `pipeline.convert.source.MaskSource`."""
        return self.table.look_up(read_stored(self.root / self.name))


@dataclass(frozen=True, slots=True)
class MaskParts:
    """A mask in several files, one for each class or object: what is not 0 is of it; later ones cover earlier ones.

    With a tolerance each file has two named values or colours: 0, and the median of its strong pixels.
    """

    paths: tuple[Path, ...]
    indices: tuple[int, ...]  # the class of each file
    background: int  # 255: what no file covers is void
    tolerance: int | None = None

    def read(self, size: Size) -> np.ndarray:
        """See `pipeline.convert.source.MaskSource`."""
        mask: np.ndarray | None = None
        for path, index in zip(self.paths, self.indices, strict=True):
            covered = self._covered(path)
            if mask is None:
                mask = np.full(covered.shape, self.background, np.uint8)
            if mask.shape != covered.shape:
                raise ValueError(f"{path.name} has another size than the other parts of the mask")
            mask[covered] = index
        assert mask is not None
        return mask

    def _covered(self, path: Path) -> np.ndarray:
        """(height, width) bool."""
        stored = read_stored(path)
        by_colour = stored.colours is not None or stored.palette is not None
        keys = stored.packed() if by_colour else stored.values
        assert keys is not None
        distinct, counts = np.unique(keys, return_counts=True)
        if self.tolerance is None:
            if len(distinct) > 2 or (len(distinct) == 2 and distinct[0] != 0):
                raise UnknownLabels(_named(keys[keys != 0], by_colour))
            return np.asarray(keys > 0)
        channels = _channels(distinct, by_colour)
        strengths = channels.max(axis=1)
        may_be_black = len(distinct) > 2 or path.suffix.lower() in LOSSY
        if strengths.max() <= (FAINT if may_be_black else 0):
            return np.zeros(keys.shape, bool)
        strong = strengths > STRONG * strengths.max()  # away from edges
        own = np.percentile(np.repeat(channels[strong], counts[strong], axis=0), 50, axis=0, method="lower").tolist()
        key = key_of_colour((own[0], own[1], own[2])) if by_colour else own[0]
        return Table(by_colour, ((0, 0), (key, 1)), self.tolerance).nearest(keys.ravel()).reshape(keys.shape) == 1
