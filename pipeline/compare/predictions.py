"""The masks that runs predicted, from their artifacts: which there are, and what is in them."""

import contextlib
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline.data.image_files import UNDECODABLE, read_index_mask
from pipeline.runtime.errors import UserError
from pipeline.tracking.stored_run import StoredRun

TEST, VAL = "predictions/test", "predictions/val"
DEEPEST = 4  # folders that an id may name; an id of a VOC list may have slashes
MOST_LISTED = 50_000
AT_ONCE = 8  # files on their way at a time: a server is far away


def image_ids(stored: StoredRun, folder: str, depth: int = DEEPEST) -> list[str]:
    """Ids of the images whose predicted masks a run has in a folder, sorted.

    The names come from a server: what could lead out of a folder, or is no plain name, is passed over.
    """
    ids: list[str] = []
    for path, entry in stored.listed(folder).items():
        name = path.removeprefix(f"{folder}/")
        if not path.startswith(f"{folder}/") or not is_plain_name(name):
            continue
        if entry.is_dir and depth > 1:
            ids += [f"{name}/{id}" for id in image_ids(stored, path, depth - 1)]
        elif not entry.is_dir and name.endswith(".png"):
            ids.append(name.removesuffix(".png"))
        if len(ids) > MOST_LISTED:
            raise UserError(f"run={stored.run_id}: {folder} has more than {MOST_LISTED} images")
    return sorted(ids)


def is_plain_name(name: str) -> bool:
    """Whether a name is one part of a path, and can be nothing else."""
    return 0 < len(name) <= 200 and name not in (".", "..") and not {"/", "\\", "\0"} & set(name) and name.isprintable()


def epochs(stored: StoredRun) -> list[int]:
    """The epochs whose validation predictions a run has."""
    names = [PurePosixPath(path).name for path, entry in stored.listed(VAL).items() if entry.is_dir]
    return sorted(int(name) for name in names if name.isascii() and name.isdecimal() and 0 < len(name) <= 7)


def spread(values: Collection[int], most: int) -> list[int]:
    """At most so many of the values, the first and the last among them, at steps as even as can be."""
    found = sorted(values)
    if len(found) <= most:
        return found
    return [found[round(place * (len(found) - 1) / (most - 1))] for place in range(most)]


def fetch_masks(stored: StoredRun, folder: str, ids: Collection[str]) -> dict[str, Path]:
    """The predicted masks of some images, fetched; without those that the run does not have."""
    folders = {str(PurePosixPath(folder, id).parent) for id in ids}
    listed = {path: entry for place in folders for path, entry in stored.listed(place).items()}

    def fetch(id: str) -> tuple[str, Path | None]:
        with contextlib.suppress(UserError):
            return id, stored.fetch(f"{folder}/{id}.png", listed)
        return id, None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return {id: path for id, path in pool.map(fetch, ids) if path is not None}


def readable_mask(path: Path) -> np.ndarray | None:
    """`read_index_mask`; None for a file that it refuses."""
    try:
        return read_index_mask(path)
    except UNDECODABLE:
        return None
