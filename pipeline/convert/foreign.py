"""What lies in an output that no conversion wrote: own lists, which are kept, and files that must not be removed."""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.config.dataset_file import NAME as DATASET_FILE
from pipeline.convert.images import ENDINGS
from pipeline.convert.splits import NAMES
from pipeline.convert.write import MANIFEST, SHEET, Row
from pipeline.data.find_files import COMPANION
from pipeline.data.layout import IMAGES, LISTS, MASKS
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import link_or_copy
from pipeline.runtime.text import enumerated

OF_SYSTEMS = (".DS_Store", "Thumbs.db", "desktop.ini")  # file managers write them anew
PARTS = (IMAGES, MASKS, LISTS.partition("/")[0])  # the folders at the top of an output


def own_lists(output: Path, earlier: Sequence[Row]) -> list[str]:
    """The names of lists in an output that no conversion wrote.

    Args:
        earlier: what the last call wrote there.

    Raises:
        UserError: there are other files that no conversion wrote, or the folder cannot be read.
    """
    ids = {row.id for row in earlier}
    written = {MANIFEST, SHEET, DATASET_FILE, *(f"{LISTS}/{split}.txt" for split in {row.split for row in earlier})}
    lists, foreign = [], []
    try:
        for path, is_link in _below(output):
            folder, _, name = path.rpartition("/")
            if path in written or _id_of(path) in ids or name in OF_SYSTEMS or name.startswith(COMPANION):
                continue
            stem, ending = os.path.splitext(name)
            if folder == LISTS and ending == ".txt" and stem.lower() not in NAMES and not is_link:
                lists.append(name)
            else:
                top, _, rest = path.partition("/")
                foreign.append(f"{top}/" if rest and top not in PARTS else path)
    except OSError as error:
        raise UserError(f"output={output}: cannot be read: {error.strerror}") from error
    if foreign:
        names = enumerated(sorted(set(foreign)), 3)
        raise UserError(
            f"output={output}: has files that no conversion wrote: {names}; overwrite=true would remove them; move "
            "them elsewhere, or give another output"
        )
    return sorted(lists)


def keep_lists(output: Path, names: Sequence[str], folder: Path) -> None:
    """Give a new folder the lists of an output, before it replaces that."""
    for name in names:
        link_or_copy(output / LISTS / name, folder / LISTS / name)


def _below(output: Path) -> Iterator[tuple[str, bool]]:
    """The files below a folder, relative to it, and whether each is a link; a link to a folder is like a file."""
    folders = [""]
    while folders:
        folder = folders.pop()
        with os.scandir(output / folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(f"{folder}{entry.name}/")
                else:
                    yield f"{folder}{entry.name}", entry.is_symlink()


def _id_of(path: str) -> str | None:
    """The id of a file whose place is that of a written image or mask."""
    for folder, endings in ((IMAGES, ENDINGS), (MASKS, (".png",))):
        for ending in endings:
            if path.startswith(f"{folder}/") and path.endswith(ending):
                found = path.removeprefix(f"{folder}/").removesuffix(ending)
                return unicodedata.normalize("NFC", found)  # macOS returns names in another Unicode form
    return None
