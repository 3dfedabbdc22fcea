"""Unpacks the segmentation part of VOC's tar archives into one folder in VOC layout, complete or absent.

Archives are not trusted. The name of a member must match a narrow pattern in full; its bytes are written by this module
into folders that this module made; `tarfile.extract` (whose filters were bypassed, CVE-2025-4517) is never called. The
tars are uncompressed, so the files are never larger than the archive.
"""

import os
import re
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from pipeline.data.layout import IMAGES, LISTS, MASKS
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import publish
from pipeline.runtime.progress import Progress, silent

LARGEST_FILE = 16 * 2**20  # bytes; the largest image of VOC has about 0.3 MB
REPLACE = "remove it, and the official archive will be downloaded"


def extract_segmentation(archives: Sequence[Path], target: Path, year: str, progress: Progress = silent) -> None:
    """Unpack lists, class masks and listed images of all archives into one new folder.

    They are written to a hidden folder next to `target`, which is renamed at the end: a killed process leaves no
    `target`, and the next call removes the hidden folder. The caller must hold a lock on `target`.

    Args:
        archives: uncompressed tars that hold VOCdevkit/VOC<year>/; VOC2007 has two, which become one folder.
        target: the folder to make; it may exist only if empty.
        progress: gets the position in the archive in bytes.

    Raises:
        UserError: an archive is damaged, unsafe (a name leading outside, a link or device where a file belongs), or
            lacks lists or listed images. `target` is not made.
        OSError: the disk is full or may not be written.
    """
    unfinished = target.with_name(f".{target.name}.unfinished")
    if unfinished.exists():
        shutil.rmtree(unfinished)
    try:
        for folder in (LISTS, MASKS, IMAGES):
            (unfinished / folder).mkdir(parents=True)
        for path in archives:
            try:
                with tarfile.open(path, "r:") as archive:
                    _extract(archive, path, unfinished, year, progress)
            except tarfile.TarError as error:
                raise UserError(f"{path}: not a complete, uncompressed tar archive: {error}; {REPLACE}") from error
        os.sync()  # thousands of files at once; flushing each in `publish` is then several times faster
        publish(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _extract(archive: tarfile.TarFile, path: Path, folder: Path, year: str, progress: Progress) -> None:
    """Args: path: of the archive."""
    members = _wanted_members(archive, path, year)  # first pass: headers only
    ids = _listed_ids(archive, members)
    if not ids:
        raise UserError(f"{path}: no ids in VOCdevkit/VOC{year}/{LISTS}/*.txt; {REPLACE}")
    if missing := sorted(image_id for image_id in ids if f"{IMAGES}/{image_id}.jpg" not in members):
        raise UserError(f"{path}: {len(missing)} listed images are missing, the first is {missing[0]!r}; {REPLACE}")
    size = path.stat().st_size
    for name, member in members.items():  # second pass, in the order of the archive, so that the disk reads forwards
        if name.startswith(IMAGES) and PurePosixPath(name).stem not in ids:
            continue
        content = _read(archive, member)
        destination = folder / name
        if not destination.exists():
            with destination.open("xb") as file:
                file.write(content)
        elif destination.read_bytes() != content:
            raise UserError(f"{path}: {name} differs from the file of that name in an earlier archive; {REPLACE}")
        progress(f"unpacking {path.name}", member.offset_data + member.size, size)
    progress(f"unpacking {path.name}", size, size)


def _listed_ids(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo]) -> set[str]:
    lists = [
        _read(archive, member).decode("utf-8", "replace") for name, member in members.items() if name.startswith(LISTS)
    ]
    return {line.split()[0] for content in lists for line in content.splitlines() if line.strip()}


def _wanted_members(archive: tarfile.TarFile, path: Path, year: str) -> dict[str, tarfile.TarInfo]:
    """Path below VOC<year>/ -> member, for lists, masks and all images; raise UserError for an unsafe archive."""
    root = PurePosixPath(f"VOCdevkit/VOC{year}")
    wanted = re.compile(rf"{root}/({LISTS}/[\w-]+\.txt|{MASKS}/[\w-]+\.png|{IMAGES}/[\w-]+\.jpg)", re.ASCII)
    folders = {str(parent) for name in (LISTS, MASKS, IMAGES) for parent in (root / name / "file").parents}
    members: dict[str, tarfile.TarInfo] = {}
    for member in archive:
        as_path = PureWindowsPath(member.name)  # stricter than Posix: both slashes and drive letters
        if as_path.anchor or ".." in as_path.parts:
            raise UserError(
                f"{path}: refused, its member {member.name!r} leads outside the dataset's folder; {REPLACE}"
            )
        match = wanted.fullmatch(member.name)
        if (match and (not member.isreg() or member.issparse())) or (member.name in folders and not member.isdir()):
            raise UserError(
                f"{path}: refused, its member {member.name!r} is a link, a device or another special file; {REPLACE}"
            )
        if match is None:
            continue
        if member.size > LARGEST_FILE:
            raise UserError(
                f"{path}: refused, {member.name!r} has {member.size} bytes, at most {LARGEST_FILE} expected; {REPLACE}"
            )
        if match[1] in members:
            raise UserError(f"{path}: refused, it holds {member.name!r} twice; {REPLACE}")
        members[match[1]] = member
    return members


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    source = archive.extractfile(member)
    assert source is not None, "_wanted_members returns regular files only"
    return source.read()
