"""From ids to files: the image or mask of each id, or what lies in its place."""

import re
import unicodedata
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path, PurePosixPath

from pipeline.data.conversion import MENDS
from pipeline.data.faults import Fault
from pipeline.data.layout import MASKS
from pipeline.runtime.errors import UserError

COMPANION = "._"  # starts the names of files in which macOS stores attributes of others
RASTER = (".tif", ".tiff", ".bmp", ".gif", ".webp")  # of which a conversion writes PNG without a loss
MOST_SCANS = 20  # searches through a whole folder for names that are similar to a missing one
MOST_WALKED = 200_000  # files below JPEGImages/ that are looked at for a missing one


class FileIndex:
    """The files of one folder of a dataset. Only subfolders that ids name are read, so links cannot lead in circles."""

    def __init__(self, root: Path, name: str, suffixes: tuple[str, ...]) -> None:
        self.folder, self.name, self.suffixes = root / name, name, suffixes
        self._read: dict[str, dict[str, list[Path]]] = {}
        self._alike: dict[str, dict[str, list[Path]]] = {}
        self._affixes: dict[tuple[str, str], None] = {}
        self._scans = 0

    def find(self, example_id: str) -> list[Path]:
        """The files of an id: its name with one of the suffixes, in upper or lower case.

        If no file has that very name, one in another Unicode form, or without its invisible characters, is taken.

        Raises:
            UserError: a folder may not be read.
        """
        parent, stem = _split(example_id)
        exact = self._usable(self._files(parent).get(stem, []))
        return exact or [
            file
            for file in self._usable(self._similar(parent).get(_alike(stem), []))
            if _same(file.stem) == _same(stem)
        ]

    def missing(self, example_id: str, split: str) -> Fault:
        """The fault of an id without a file, with what lies in its place."""
        file = f"{self.name}/{example_id}{self.suffixes[0]}"
        what = f"{file}: missing, but listed in the {split} split"
        kind, beside, to_do = self._beside(example_id)
        if not beside:
            return Fault((self.name, split, kind, _split(example_id)[0]), example_id, what)
        return Fault((self.name, kind), example_id, f"{file}: missing; {beside}", to_do)

    def ambiguous(self, example_id: str, found: Iterable[Path]) -> Fault:
        """The fault of an id with several files."""
        files = sorted(found)
        names = " and ".join(file.name for file in files)
        kind = (self.name, "ambiguous", *(file.suffix for file in files))
        what = f"{self.name}/{example_id}: ambiguous: found {names}"
        return Fault(kind, example_id, what, "keep one of them")

    def _usable(self, files: list[Path]) -> list[Path]:
        return [file for file in files if file.suffix.lower() in self.suffixes]

    def _files(self, parent: str) -> dict[str, list[Path]]:
        """The files of a subfolder, whatever their endings, by their names without them."""
        if parent not in self._read:
            found: dict[str, list[Path]] = {}
            for file in self._listed(parent):
                if not file.name.startswith(COMPANION):
                    found.setdefault(file.stem, []).append(file)
            self._read[parent] = found
        return self._read[parent]

    def _listed(self, parent: str) -> list[Path]:
        for form in (parent, unicodedata.normalize("NFC", parent), unicodedata.normalize("NFD", parent)):
            try:
                return list((self.folder / form).iterdir())
            except PermissionError as error:
                raise UserError(
                    f"{self.folder / parent}: cannot be read: {error.strerror}; give this user the right to read it"
                ) from error
            except OSError:  # the folder does not exist: its ids are reported as missing
                continue
        return []

    def _similar(self, parent: str) -> dict[str, list[Path]]:
        """The files of a subfolder by their names without case, Unicode form and invisible characters."""
        if parent not in self._alike:
            found: dict[str, list[Path]] = {}
            for stem, files in self._files(parent).items():
                found.setdefault(_alike(stem), []).extend(files)
            self._alike[parent] = found
        return self._alike[parent]

    # ---- what lies in the place of a missing file: its kind, words for it, and what to do

    def _beside(self, example_id: str) -> tuple[str, str, str]:
        parent, stem = _split(example_id)
        if others := self._files(parent).get(stem):
            return self._other_suffix(others[0])
        if others := self._similar(parent).get(_alike(stem)):
            beside = f"{self._shown(others[0])} exists, which differs in upper and lower case"
            return "case", beside, f"write it in the list as the file is called{MENDS}does so"
        if (affixes := self._affix(parent, stem)) is not None:
            before, after = affixes
            file = self._files(parent)[before + stem + after][0]
            to_do = f"call it as it is listed{MENDS}does so"
            return f"{before}*{after}{file.suffix}", f"{self._shown(file)} exists", to_do
        if (elsewhere := self._elsewhere.get(_alike(stem))) is not None:
            listed = elsewhere.relative_to(self.folder).with_suffix("").as_posix()
            to_do = f"list its path below {self.name}/: {listed}{MENDS}does so"
            return "elsewhere", f"{self._shown(elsewhere)} exists", to_do
        return "", "", ""

    def _shown(self, file: Path) -> str:
        return f"{self.name}/{file.relative_to(self.folder).as_posix()}"

    def _other_suffix(self, file: Path) -> tuple[str, str, str]:
        suffix, read = file.suffix, ", ".join(self.suffixes)
        beside = f"{self._shown(file)} exists, but only {read} is read"
        if self.name == MASKS and suffix.lower() in (".jpg", ".jpeg"):
            return suffix, beside, "JPEG changes pixels, and with them labels: export the masks again, as PNG"
        mends = f"{MENDS}writes PNG" if suffix.lower() in RASTER else ""
        return suffix, beside, f"write it as {read}{mends}"

    def _affix(self, parent: str, stem: str) -> tuple[str, str] | None:
        """What precedes and follows the name of an id in that of a file, such as ("", "_mask")."""
        files = self._files(parent)
        for before, after in self._affixes:
            if before + stem + after in files:
                return before, after
        if self._scans >= MOST_SCANS:
            return None
        self._scans += 1
        for other in sorted(files):
            before, found, after = other.partition(stem)
            # train_1 is no part of train_10, nor of another name at random.
            parts = found and bool(before) != bool(after)
            if parts and re.fullmatch(r"([\w.-]*[._-])?", before) and re.fullmatch(r"([._-][\w.-]*)?", after):
                self._affixes[before, after] = None
                return before, after
        return None

    @cached_property
    def _elsewhere(self) -> dict[str, Path]:
        """Files in any subfolder, by their names; links are not followed."""
        found: dict[str, Path] = {}
        for number, file in enumerate(self.folder.rglob("*")):
            if number > MOST_WALKED:
                break
            if file.suffix.lower() in self.suffixes and not file.name.startswith(COMPANION):
                found.setdefault(_alike(file.stem), file)
        return found


def invisible(text: str) -> list[str]:
    """The names of the characters in a text that nobody sees, such as ZERO WIDTH SPACE."""
    return [unicodedata.name(c, f"U+{ord(c):04X}") for c in text if unicodedata.category(c) == "Cf" or c == "\u00a0"]


def plainly(text: str) -> str:
    """The text with its invisible characters and its accents of their own escaped, so that the difference is seen."""
    return text.encode("ascii", "backslashreplace").decode()


def without_invisible(text: str) -> str:
    """The text without characters that nobody sees; a no-break space becomes a space."""
    return "".join(c for c in text.replace("\u00a0", " ") if unicodedata.category(c) != "Cf").strip()


def _same(text: str) -> str:
    return unicodedata.normalize("NFC", without_invisible(text))


def _alike(text: str) -> str:
    return _same(text).casefold()


def _split(example_id: str) -> tuple[str, str]:
    """The folder of an id, "" for none, and its name in it."""
    path = PurePosixPath(example_id)
    parent = path.parent.as_posix()
    return ("" if parent == "." else parent), path.name
