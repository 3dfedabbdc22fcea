"""The output: a folder in VOC layout that is there whole or not at all, its lists, and what it was made of."""

import contextlib
import csv
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from pipeline.config.dataset_file import NAME as DATASET_FILE
from pipeline.config.yaml_text import is_plain
from pipeline.convert.options import Options
from pipeline.data.layout import IMAGES, LISTS, MASKS
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import OUTDATED

MANIFEST = "convert.csv"  # what each example was made of
SHEET = "contact_sheet.png"
COLUMNS = ("id", "split", "image", "mask", "image_sha256", "mask_sha256")


@dataclass(frozen=True, slots=True)
class Row:
    """One example of the manifest."""

    id: str
    split: str  # empty: left out of the lists
    image: str  # in the source
    mask: str
    image_hash: str
    mask_hash: str


def read_earlier(output: Path) -> list[Row] | None:
    """What an earlier call wrote; None if there is no such folder, or an empty one.

    Raises:
        UserError: something else is there.
    """
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return None
    try:
        with (output / MANIFEST).open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        if not (output / DATASET_FILE).is_file() or tuple(rows[0]) != COLUMNS:
            raise ValueError("no manifest")
        return [Row(*row) for row in rows[1:]]
    except (OSError, ValueError, TypeError, IndexError, csv.Error):
        raise UserError(
            f"output={output}: exists, and was not written by this command; the name of a new folder expected"
        ) from None


def splitting(options: Options) -> dict[str, Any]:
    """What the command line says of splits, for `made_of`."""
    return {
        "split": None if options.split is None else list(options.split),
        "group": None if options.group is None else options.group.pattern,
    }


def split_as_before(options: Options) -> bool:
    """Whether the call that wrote the output was told the same of splits."""
    try:
        text = (options.output / DATASET_FILE).read_text(encoding="utf-8")
        made_of = (yaml.safe_load(text) or {})["made_of"] if is_plain(text) else {}
        return {key: made_of.get(key) for key in splitting(options)} == splitting(options)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, yaml.YAMLError):
        return False  # it was changed by hand: the splits are made anew


@contextlib.contextmanager
def unfinished(output: Path) -> Iterator[Path]:
    """A hidden folder next to the output, which `finish` gives its name; it is removed if the block fails.

    Raises:
        UserError: it cannot be made.
    """
    hidden = _hidden(output)
    try:
        for name in (IMAGES, MASKS, LISTS):
            (hidden / name).mkdir(parents=True)
    except OSError as error:
        raise UserError(f"output={output}: cannot be written: {error.strerror}") from error
    try:
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)


def _hidden(output: Path) -> Path:
    """The hidden folder of this process; next to the folder itself where the output is a link to one."""
    output = output.resolve()
    return output.with_name(f".{output.name}.{os.getpid()}")


def clear_abandoned(output: Path) -> None:
    """Remove what a conversion that was killed left behind; an output that it had put aside gets its name back.

    Raises:
        UserError: it cannot be removed.
    """
    output = output.resolve()
    if not output.parent.is_dir():
        return
    try:
        for other in sorted(output.parent.iterdir()):
            match = re.fullmatch(rf"\.{re.escape(output.name)}\.(\d+)({re.escape(OUTDATED)})?", other.name)
            if not match or (int(match[1]) != os.getpid() and psutil.pid_exists(int(match[1]))):
                continue  # in containers, processes often have the same numbers
            if match[2] and not output.exists():
                other.rename(output)
            else:
                shutil.rmtree(other, ignore_errors=True)
    except OSError as error:
        raise UserError(f"output={output}: cannot be written: {error.strerror}") from error


def finish(hidden: Path, output: Path) -> None:
    """Give a complete folder its name; an earlier one is removed afterwards."""
    os.sync()  # once for all files: fsync of each takes longer than their conversion
    output = output.resolve()
    outdated = hidden.with_name(hidden.name + OUTDATED)  # a name that no folder of the user has
    aside = output.exists()
    if aside:
        output.rename(outdated)
    try:
        hidden.replace(output)
    except OSError:
        if aside:
            outdated.rename(output)
        raise
    if aside:
        shutil.rmtree(outdated, ignore_errors=True)


def write_lists(folder: Path, rows: Sequence[Row]) -> None:
    """Write the list of each split that has images."""
    for split in ("train", "val", "test"):
        ids = [row.id for row in rows if row.split == split]
        if ids:
            (folder / LISTS / f"{split}.txt").write_text("".join(f"{name}\n" for name in ids), encoding="utf-8")


def write_manifest(folder: Path, rows: Sequence[Row]) -> None:
    """Write what each example was made of."""
    with (folder / MANIFEST).open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((row.id, row.split, row.image, row.mask, row.image_hash, row.mask_hash) for row in rows)


def dataset_content(classes: Sequence[str], background: str | None, colours: Sequence[str] | None) -> dict[str, Any]:
    """The keys of `dataset.yaml` that a run takes; see `pipeline.config.dataset_file`."""
    content = {"classes": list(classes), "background": background}
    return content if colours is None else content | {"colours": list(colours)}


def write_dataset_file(folder: Path, content: dict[str, Any], made_of: dict[str, Any]) -> None:
    """Write `dataset.yaml`.

    Args:
        content: of `dataset_content`.
    """
    text = yaml.safe_dump({**content, "made_of": made_of}, sort_keys=False, allow_unicode=True, width=120)
    (folder / DATASET_FILE).write_text(
        "# Written by python -m pipeline.convert. With dataset=folder dataset.root=<this folder>, run.py takes\n"
        f"# classes, background and colours from here, unless dataset.classes is given. made_of is for people.\n{text}",
        encoding="utf-8",
    )
