"""The segmentation part of VOC's tar archives -> one folder in VOC layout, complete or absent.

Nothing is written under a name that an archive chose: a member's name must match a narrow pattern in full, its bytes
are written by this file into folders that this file made, and `tarfile.extract` (whose filters were bypassed,
CVE-2025-4517) is never called. The tars are uncompressed, so what comes out is never larger than what went in.
"""

import os
import re
import shutil
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from pipeline.data.voc import IMAGES, LISTS, MASKS
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import publish
from pipeline.runtime.progress import Progress, silent

LARGEST_FILE = 16 * 2**20  # bytes; VOC's largest image has about 0.3 MB


def extract_segmentation(archives: Sequence[Path], target: Path, year: str, progress: Progress = silent) -> None:
    """Unpack the lists, the class masks and the images that the lists name from all `archives` into the new `target`.

    They go into a hidden folder beside `target`, which is renamed at the end: a process killed at any instant leaves
    no `target`, and the next call clears what it left. The caller sees to it that no second process does the same.

    Args:
        archives: uncompressed tars holding VOCdevkit/VOC<year>/; VOC2007 comes as two, which become one folder.
        target: the folder to make; it may exist only if empty.
        progress: told the bytes of the archive that are behind.

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
                raise UserError(f"{path}: not a whole, uncompressed tar archive: {error}") from error
        os.sync()  # thousands of files at once; flushing each in `publish` is then several times faster
        publish(unfinished, target)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _extract(archive: tarfile.TarFile, path: Path, folder: Path, year: str, progress: Progress) -> None:
    members = _wanted_members(archive, path, year)  # first pass: headers only
    ids: set[str] = set()
    for name, member in members.items():
        if name.startswith(LISTS):
            ids.update(
                line.split()[0]
                for line in _read(archive, member).decode("utf-8", "replace").splitlines()
                if line.strip()
            )
    if not ids:
        raise UserError(f"{path}: no ids in VOCdevkit/VOC{year}/{LISTS}/*.txt, expected VOC{year}'s own archive")
    if missing := sorted(image_id for image_id in ids if f"{IMAGES}/{image_id}.jpg" not in members):
        raise UserError(f"{path}: {len(missing)} listed images are not in the archive, the first is {missing[0]!r}")

    size = path.stat().st_size
    for name, member in members.items():  # second pass, in the archive's own order: the disk reads forwards
        if name.startswith(IMAGES) and PurePosixPath(name).stem not in ids:
            continue
        data = _read(archive, member)
        destination = folder / name
        if not destination.exists():
            with destination.open("xb") as file:
                file.write(data)
        elif destination.read_bytes() != data:
            raise UserError(f"{path}: {name} differs from the file of that name in an earlier archive")
        progress(f"unpacking {path.name}", member.offset_data + member.size, size)
    progress(f"unpacking {path.name}", size, size)


def _wanted_members(archive: tarfile.TarFile, path: Path, year: str) -> dict[str, tarfile.TarInfo]:
    """Path below VOC<year>/ -> member, for lists, masks and all images; raises UserError for an unsafe archive."""
    root = PurePosixPath(f"VOCdevkit/VOC{year}")
    wanted = re.compile(rf"{root}/({LISTS}/[\w-]+\.txt|{MASKS}/[\w-]+\.png|{IMAGES}/[\w-]+\.jpg)", re.ASCII)
    folders = {str(parent) for name in (LISTS, MASKS, IMAGES) for parent in (root / name / "file").parents}
    members: dict[str, tarfile.TarInfo] = {}
    for member in archive:
        as_path = PureWindowsPath(member.name)  # the stricter reading: it knows both slashes and drive letters
        if as_path.anchor or ".." in as_path.parts:
            raise UserError(f"{path}: refused, its member {member.name!r} leads outside the dataset's folder")
        match = wanted.fullmatch(member.name)
        if (match and (not member.isreg() or member.issparse())) or (member.name in folders and not member.isdir()):
            raise UserError(f"{path}: refused, its member {member.name!r} is a link, a device or another special file")
        if match is None:
            continue
        if member.size > LARGEST_FILE:
            raise UserError(
                f"{path}: refused, {member.name!r} has {member.size} bytes, at most {LARGEST_FILE} expected"
            )
        if match[1] in members:
            raise UserError(f"{path}: refused, it holds {member.name!r} twice")
        members[match[1]] = member
    return members


def _read(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    source = archive.extractfile(member)
    assert source is not None, "regular files only: _wanted_members saw to it"
    return source.read()
