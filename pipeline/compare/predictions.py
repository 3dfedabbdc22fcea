"""The masks that runs predicted: which images and epochs their artifacts have, and the masks themselves."""

import contextlib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.data.image_files import UNDECODABLE, read_index_mask
from pipeline.runtime.errors import UserError
from pipeline.tracking.stored_run import StoredRun

TEST, VAL = "predictions/test", "predictions/val"
MAX_DEPTH = 4  # levels of folders in an image id; the ids of a VOC list may contain slashes
MOST_LISTED = 50_000
PARALLEL_DOWNLOADS = 8


def image_ids(stored: StoredRun, folder: str, depth: int = MAX_DEPTH) -> list[str]:
    """Ids of the images for which a run has predicted masks in a folder, sorted.

    The names come from a server: any that is not a plain name, and could lead out of the folder, is ignored.
    """
    found: list[str] = []
    for path, entry in stored.listed(folder).items():
        name = path.removeprefix(f"{folder}/")
        if not path.startswith(f"{folder}/") or not is_plain_name(name):
            continue
        if entry.is_dir and depth > 1:
            found += [f"{name}/{inside}" for inside in image_ids(stored, path, depth - 1)]
        elif not entry.is_dir and name.endswith(".png"):
            found.append(name.removesuffix(".png"))
        if len(found) > MOST_LISTED:
            raise UserError(f"run={stored.run_id}: {folder} has more than {MOST_LISTED} images")
    return sorted(found)


def is_plain_name(name: str) -> bool:
    """Whether a name is exactly one component of a path, and printable."""
    return 0 < len(name) <= 200 and name not in (".", "..") and not {"/", "\\", "\0"} & set(name) and name.isprintable()


def epochs(stored: StoredRun) -> list[int]:
    """The epochs for which a run has validation predictions."""
    names = [PurePosixPath(path).name for path, entry in stored.listed(VAL).items() if entry.is_dir]
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal() and 0 < len(name) <= 7)


def spread(values: Collection[int], most: int) -> list[int]:
    """At most `most` of the values, the smallest and the largest among them, at steps that are as even as possible."""
    found = sorted(values)
    if len(found) <= most:
        return found
    return [found[round(place * (len(found) - 1) / (most - 1))] for place in range(most)]


def fetch_masks(stored: StoredRun, folder: str, ids: Collection[str]) -> dict[str, Path]:
    """Fetch the predicted masks of some images; those that the run does not have are missing in the result."""
    folders = {str(PurePosixPath(folder, image_id).parent) for image_id in ids}
    listed = {path: entry for place in folders for path, entry in stored.listed(place).items()}

    def fetch(image_id: str) -> tuple[str, Path | None]:
        with contextlib.suppress(UserError):
            return image_id, stored.fetch(f"{folder}/{image_id}.png", listed)
        return image_id, None

    with ThreadPoolExecutor(PARALLEL_DOWNLOADS) as pool:
        return {image_id: path for image_id, path in pool.map(fetch, ids) if path is not None}


def readable_mask(path: Path) -> np.ndarray | None:
    """The class indices of a mask, (height, width) uint8; None for a file that `read_index_mask` refuses."""
    try:
        return read_index_mask(path)
    except UNDECODABLE:
        return None
