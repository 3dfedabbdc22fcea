"""`dataset=shapes`: generated on first use into a folder in PASCAL VOC layout; see `drawing` for what is drawn."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

from pipeline.data.layout import IMAGES, LISTS, MASKS
from pipeline.data.lock import data_lock
from pipeline.data.palette import voc_palette
from pipeline.data.synthetic.drawing import render_example
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import OUTDATED, publish
from pipeline.runtime.limits import processors
from pipeline.runtime.progress import Progress, silent

SPLITS = {"train": 480, "val": 80, "test": 100}
VERSION = 1  # raised with every change of what is drawn: the dataset is then generated again
MARKER = "shapes-version.txt"


def make_shapes(root: Path, progress: Progress = silent) -> None:
    """Write the dataset to `root` in VOC layout, unless this VERSION of it is already there.

    The files are written to a hidden folder next to `root`, which gets its name when it is complete: a process that is
    killed leaves no incomplete dataset. Of two processes, the second waits for the first.

    Args:
        root: the folder to make; it may exist if it is empty or holds another version.
        progress: gets the number of images written.

    Raises:
        UserError: `root` holds anything else, or cannot be written.
    """
    root = root.resolve()
    if _version_at(root) == str(VERSION):
        return
    with data_lock(root, progress):
        version = _version_at(root)
        if version == str(VERSION):
            return
        if version is None and root.exists() and not (root.is_dir() and not any(root.iterdir())):
            raise UserError(
                f"{root}: holds files other than those of dataset=shapes; move them away or set another data_dir"
            )
        unfinished, outdated = root.with_name(f".{root.name}.unfinished"), root.with_name(root.name + OUTDATED)
        for leftover in (unfinished, outdated):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        _write(unfinished, progress)
        os.sync()  # thousands of files at once; flushing each in `publish` is then several times faster
        publish(unfinished, root)


def _version_at(root: Path) -> str | None:
    marker = root / MARKER
    return marker.read_text().strip() if marker.is_file() else None


def _write(folder: Path, progress: Progress) -> None:
    """Write every file of the dataset, the marker with its VERSION last."""
    images, masks, lists = folder / IMAGES, folder / MASKS, folder / LISTS
    for subfolder in (images, masks, lists):
        subfolder.mkdir(parents=True)
    total, listed = sum(SPLITS.values()), 0
    for split, count in SPLITS.items():
        (lists / f"{split}.txt").write_text("".join(f"{_name(listed + index)}\n" for index in range(count)))
        listed += count
    palette = voc_palette().tobytes()
    with ThreadPoolExecutor(processors()) as pool:  # drawing mostly releases Python's lock
        for index, (image, mask) in enumerate(pool.map(render_example, range(total))):
            Image.fromarray(image).save(images / f"{_name(index)}.jpg", quality=92)
            indexed = Image.fromarray(mask)
            indexed.putpalette(palette)  # changes the mode to P and keeps the indices
            indexed.save(masks / f"{_name(index)}.png")
            progress("drawing shapes", index + 1, total)
    (folder / MARKER).write_text(f"{VERSION}\n")


def _name(index: int) -> str:
    return f"shapes_{index:06d}"
