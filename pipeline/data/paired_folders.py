"""Finds the folders of images and of masks where no name tells them: files of the same names, of few values in one."""

import itertools
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.data.image_files import UNDECODABLE, open_image

FORMATS = ("PNG", "BMP", "TIFF", "WEBP", "GIF")
MOST_VALUES = 32  # of a file that may be a mask
MOST_FOLDERS = 100
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
    folders = sorted(files)[:MOST_FOLDERS]
    has_masks = {
        folder: all(_has_few_values(source / path) for path in sorted(files[folder].values())[:LOOKED_AT])
        for folder in folders
    }
    found = set()
    for one, other in itertools.permutations(folders, 2):
        differ = [place for place, (part, another) in enumerate(zip(one, other, strict=False)) if part != another]
        shared = len(files[one].keys() & files[other].keys())
        alike = shared > 1 and shared >= SHARED * min(len(files[one]), len(files[other]))
        if has_masks[other] and not has_masks[one] and alike and len(one) == len(other) and len(differ) == 1:
            end = differ[0] + 1
            found.add(("/".join(one[:end]), "/".join(other[:end])))
    return found.pop() if len(found) == 1 else None


def _has_few_values(path: Path) -> bool:
    try:
        with open_image(path, FORMATS) as opened:
            pixels = np.asarray(opened.resize((256, 256), resample=0) if max(opened.size) > 256 else opened)
    except UNDECODABLE:
        return False
    flat = pixels.reshape(-1, pixels.shape[2]) if pixels.ndim == 3 else pixels.reshape(-1, 1)
    return len(np.unique(flat, axis=0)) <= MOST_VALUES
