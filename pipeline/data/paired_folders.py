"""Finds the folders of images and of masks where no name tells them: files of the same names, of few values in one."""

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.data.image_files import UNDECODABLE, open_image

FORMATS = ("PNG", "BMP", "TIFF", "WEBP", "GIF")
MOST_VALUES = 32  # of a file that may be a mask
LOOKED_AT = 3  # files of a folder that are opened
SHARED = 0.9  # of the names in the smaller of two folders, at least, are in the other one too


def folders_of_images_and_masks(source: Path, paths: Sequence[str]) -> tuple[str, str] | None:
    """The folder of the images and the folder of their masks; None unless exactly one pair of folders is such a pair.

    Args:
        paths: of image files, relative to the source.
    """
    files: dict[tuple[str, ...], dict[str, str]] = {}
    for path in paths:
        parts = PurePosixPath(path).parts
        files.setdefault(parts[:-1], {})[PurePosixPath(path).stem] = path
    found = set()
    folders = sorted(files)
    for one in folders[:100]:
        for other in folders[:100]:
            shared = files[one].keys() & files[other].keys()
            differ = [place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b]
            if len(one) != len(other) or len(differ) != 1 or len(shared) < 2:
                continue
            if len(shared) < SHARED * min(len(files[one]), len(files[other])):
                continue
            looked_at = sorted(shared)[:LOOKED_AT]
            are_masks = [
                _have_few_values(source / files[folder][stem] for stem in looked_at) for folder in (one, other)
            ]
            if are_masks == [False, True]:
                end = differ[0] + 1
                found.add(("/".join(one[:end]), "/".join(other[:end])))
    return found.pop() if len(found) == 1 else None


def _have_few_values(paths: Iterable[Path]) -> bool:
    return all(map(_has_few_values, paths))


def _has_few_values(path: Path) -> bool:
    try:
        with open_image(path, FORMATS) as opened:
            pixels = np.asarray(opened.resize((256, 256), resample=0) if max(opened.size) > 256 else opened)
    except UNDECODABLE:
        return False
    flat = pixels.reshape(-1, pixels.shape[2]) if pixels.ndim == 3 else pixels.reshape(-1, 1)
    return len(np.unique(flat, axis=0)) <= MOST_VALUES
