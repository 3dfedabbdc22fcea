"""Recognises what labelling tools and public datasets write, by names of files and the first bytes of some.

`python -m pipeline.convert` reads these formats; the message about a folder that is not in VOC layout has the command.
"""

import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.data.file_roles import MASK_ENDINGS, has_masks
from pipeline.data.paired_folders import folders_of_images_and_masks
from pipeline.data.path_parts import ending_of, folder_of, name_of

HEAD = 2**16  # bytes of a file that are looked at
MOST_NAMES = 20_000  # that are looked at of one folder
MOST_FILES = 10 * MOST_NAMES  # after which no other folder is looked at
MOST_OPENED = 20  # JSON and XML files
ADE20K_CLASSES = "objectInfo150.txt"  # comes with the dataset
ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".7z", ".rar")


@dataclass(frozen=True)
class Recognised:
    """A format, and what in the folder shows it, in words."""

    format: str
    why: str
    arguments: tuple[str, ...] = ()  # of the command: images=a and masks=b, where names do not say which is which


def recognise(source: Path) -> Recognised | None:
    """The format of a folder or of one file; None if it has none that is known."""
    if source.is_file():
        kind = kind_of_file(source)
        return Recognised(kind, f"{source.name} is a file of {kind}") if kind else None
    paths = list_files(source)
    folders = {part.lower() for folder in set(map(folder_of, paths)) for part in folder.split("/")}
    if "gtfine" in folders or "gtcoarse" in folders:
        return Recognised("cityscapes", "it has gtFine/")
    if {"image_2", "semantic"} <= folders:
        return Recognised("cityscapes", "it has image_2/ and semantic/, as KITTI has, with the ids of Cityscapes")
    if "images" in folders and (sign := _sign_of_ade20k(paths)) is not None:
        return Recognised("ade20k", f"it has images/, annotations/ and {sign}")
    if any(re.search(r"(^|/)ADE_\w+_seg\.png$", path) for path in paths):
        return Recognised("ade20k", "it has ADE_*_seg.png")
    kinds: dict[str, str] = {}
    for path in _telling(paths):
        if (kind := kind_of_file(source / path)) is not None:
            kinds.setdefault(kind, path)
    for kind in ("supervisely", "coco", "cvat", "labelme"):
        if kind in kinds:
            return Recognised(kind, f"{kinds[kind]} is a file of {kind}")
    images = [path for path in paths if path.lower().endswith(MASK_ENDINGS)]
    if has_masks(images):
        return Recognised("masks", f"it has {_counts(images)}, of which some are masks by their names")
    if (pair := folders_of_images_and_masks(source, images)) is not None:
        why = f"{pair[0]}/ and {pair[1]}/ have files of the same names, which in {pair[1]}/ hold few values"
        return Recognised("masks", why, (f"images={pair[0]}", f"masks={pair[1]}"))
    return None


def convert_command(source: Path, *arguments: str) -> str:
    """The command that converts a source, for a shell."""
    name = source.resolve().name
    words = (f"source={source}", f"output={PurePosixPath(name).stem if source.is_file() else name}-voc", *arguments)
    return f"python -m pipeline.convert {shlex.join(words)}"


def list_files(root: Path) -> list[str]:
    """Names of files below a folder, relative to it, without hidden ones; links are not followed.

    Of a folder with very many files the first ones, so that those of the folders after it are listed, too.
    """
    found: list[str] = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        place = os.path.relpath(folder, root)
        before = "" if place == "." else f"{place}/"
        names = sorted(name for name in files if not name.startswith("."))
        found += [before + name for name in names[:MOST_NAMES]]
        if len(found) > MOST_FILES:
            break
    return found


def _sign_of_ade20k(paths: Sequence[str]) -> str | None:
    """A name that ADE20K alone has: mmsegmentation writes other data, such as DRIVE, into the same folders."""
    masks = [path for path in paths if re.search(r"(?i)(^|/)annotations/(training|validation)/[^/]+\.png$", path)]
    if not masks:
        return None
    own = (path for path in paths if name_of(path) == ADE20K_CLASSES)
    named = (path for path in masks if re.match(r"ADE_(train|val)_", name_of(path)))
    return next((name_of(path) for path in (*own, *named)), None)


def _telling(paths: list[str]) -> list[str]:
    """The files to look into: the first JSON and XML files of every folder, those of the highest folders first."""
    per_folder: Counter[str] = Counter()
    telling = []
    for path in sorted((p for p in paths if p.lower().endswith((".json", ".xml"))), key=lambda p: (p.count("/"), p)):
        folder = path.rpartition("/")[0]
        per_folder[folder] += 1
        if per_folder[folder] <= 3:
            telling.append(path)
    return telling[:MOST_OPENED]


def kind_of_file(file: Path) -> str | None:
    """The tool that a JSON or XML file is from, by its first bytes; None for any other file."""
    if file.suffix.lower() not in (".json", ".xml"):
        return None
    try:
        with file.open("rb") as opened:
            head = opened.read(HEAD)
    except OSError:
        return None
    if file.suffix.lower() == ".xml":
        return "cvat" if re.search(rb"<annotations\b", head) and re.search(rb"<(version|meta|image)\b", head) else None
    if re.search(rb'"shapes"\s*:\s*\[', head) and re.search(rb'"(version|flags|imagePath|imageHeight)"', head):
        return "labelme"
    if re.search(rb'"objects"\s*:\s*\[', head) and re.search(rb'"(size|description|tags)"\s*:', head):
        return "supervisely"
    if re.search(rb'"(images|annotations)"\s*:\s*\[', head) and not head.lstrip().startswith(b"["):
        return "coco"
    return None


def _counts(images: list[str]) -> str:
    endings = Counter(ending_of(path).lower() for path in images)
    most = sorted(endings.items(), key=lambda item: (-item[1], item[0]))[:3]
    return ", ".join(f"{count} {ending}" for ending, count in most)
