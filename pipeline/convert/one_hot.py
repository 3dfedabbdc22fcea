"""Masks with a channel for each class: in NumPy files, TIFF of many channels or pages, or PNG."""

from pathlib import Path

import numpy as np

from pipeline.convert.extra import import_extra
from pipeline.data.image_files import MAX_PIXELS
from pipeline.data.palette import VOID

MOST_NUMBERS = 4 * MAX_PIXELS  # of all channels together


def read_numpy(path: Path) -> np.ndarray:
    """The array of a NumPy file; none of its bytes is run as code.

    Raises:
        OSError, ValueError: it is damaged, too large, or holds something else than numbers.
    """
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)  # a header that promises too much takes no memory
    except EOFError as error:
        raise ValueError("the file ends too early") from error
    _require_room(values.size)
    return _usable(values)


def read_channels(path: Path) -> np.ndarray:
    """The array of a TIFF of many channels or pages.

    Raises:
        OSError, ValueError: it is damaged or too large.
        UserError: tifffile is missing.
    """
    tifffile = import_extra("tifffile", path)
    with tifffile.TiffFile(path) as file:  # its TiffFileError is a ValueError
        _require_room(file.series[0].size)
        return _usable(file.asarray())


def _require_room(numbers: int) -> None:
    """Raises: ValueError: an array is too large, before it is read."""
    if numbers > MOST_NUMBERS:
        raise ValueError(f"holds {numbers} numbers; at most {MOST_NUMBERS} expected")


def _usable(values: np.ndarray) -> np.ndarray:
    if values.ndim not in (2, 3) or values.dtype.kind not in "buif" or not values.size:
        raise ValueError(f"has the shape {values.shape} of {values.dtype}; numbers in two or three dimensions expected")
    if values.ndim == 3:
        if values.shape[0] < min(values.shape[1:]):
            values = np.moveaxis(values, 0, 2)
        if values.shape[2] >= VOID:
            raise ValueError(f"has {values.shape[2]} channels; at most {VOID - 1} expected")
    if values.shape[0] * values.shape[1] > MAX_PIXELS:
        raise ValueError(f"more than {MAX_PIXELS} pixels")
    return np.array(values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values)


def is_one_hot(channels: np.ndarray) -> bool:
    """Whether colours of 8 bits are no colours but channels of a mask: 0, and 1 in one channel at most.

    Args:
        channels: (height, width, 3 or 4) uint8.
    """
    return channels.max() == 1 and channels.sum(axis=2, dtype=np.uint8).max() == 1


def numbers_of_channels(channels: np.ndarray) -> np.ndarray:
    """The number of the channel that each pixel is in, from 1; 0 for none, (height, width) uint8.

    Args:
        channels: (height, width, channels), 0 and one other value.

    Raises:
        ValueError: it holds other values, or pixels in several channels.
    """
    high = channels.max()
    on = channels == high if high > 0 else np.zeros(channels.shape, bool)
    if not (on | (channels == 0)).all():
        raise ValueError(f"has {channels.shape[2]} channels with other values than 0 and {high}")
    if several := int((on.sum(axis=2) > 1).sum()):
        raise ValueError(f"{several} pixels are in more than one of its {channels.shape[2]} channels")
    return np.where(on.any(axis=2), on.argmax(axis=2) + 1, 0).astype(np.uint8)
