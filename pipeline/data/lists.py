"""List files: the ids of a split, and lines in the forms of other tools, which are recognised and not guessed."""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from pipeline.data.conversion import MENDS
from pipeline.data.faults import Fault, one_message_each
from pipeline.data.layout import IMAGES, LISTS
from pipeline.data.mask_names import SPLITS
from pipeline.runtime.text import nearest

ENDING = r"\.(jpe?g|png|tiff?|bmp|gif|webp)$"
# What takes an id out of a line, in this order: a pattern, and what replaces it.
STEPS = {
    "quotes": (r"[\"']", ""),
    "backslashes": (r"\\", "/"),
    "columns": (r"[\s,;|].*$", ""),
    "folder of images": (rf"^.*{IMAGES}/", ""),
    "folders": (r"^.*/", ""),
    "ending": (rf"(?i){ENDING}", ""),
}
HEADER = re.compile(r"(?i)[^a-z0-9]*(file|image|img|name|id|path|mask|label)[a-z_ ]*([,;\t |]+[a-z_ ]+)*")

UTF_8, WESTERN = "UTF-8", "ISO-8859-1"

Exists = Callable[[str], bool]  # whether there is an image of this id


def read_list(root: Path, split: str, name: str, exists: Exists, faults: list[str]) -> list[str]:
    """The ids of one list file, without lines that are no ids; what is wrong with those is added to `faults`.

    A line is an id if there is an image of that id. Otherwise it may be in the form of another tool: with an ending,
    with columns, and so on. An id that is in no such form, and without an image, is returned like the others.
    """
    file = f"{LISTS}/{name}.txt"
    path = root / file
    if not path.is_file():
        faults.append(_missing_list(root, split, name))
        return []
    converts = name.lower() in SPLITS  # lists of other names say nothing of splits
    text = _text(path, file, converts, faults)
    if text is None:
        return []
    lines = tuple(line.strip() for line in text.splitlines())
    if not any(lines):
        faults.append(f"{file}: empty; one id on each line expected")
    ids: dict[str, None] = {}
    wrong: list[Fault] = []
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        where = f"{file} line {number}: id '{line}'"
        if line in ids:
            wrong.append(Fault("twice", f"line {number}", f"{where} is listed twice"))
        elif not _leads_outside(line) and exists(line):
            ids[line] = None
        elif (fault := _form(file, lines, number, converts, exists)) is not None:
            wrong.append(fault)
        elif _leads_outside(line):
            what = f"{where} is absolute or contains '..': a name inside {IMAGES}/ expected"
            wrong.append(Fault(("outside", line), line, what))
        else:
            ids[line] = None
    faults += one_message_each(wrong)
    return list(ids)


def _missing_list(root: Path, split: str, name: str) -> str:
    available = sorted(file.stem for file in (root / LISTS).glob("*.txt"))
    other = [file for file in sorted((root / LISTS).parent.rglob("*")) if file.stem == name and file.is_file()]
    other += [file for file in (root / f"{name}.txt",) if file.is_file()]
    if other:
        copy = f"cp {shlex.quote(str(other[0]))} {shlex.quote(str(root / LISTS / f'{name}.txt'))}"
        what_to_do = f"{other[0].relative_to(root)} exists; if that is the list, type: {copy}"
    elif available:
        what_to_do = f"{LISTS}/ has {', '.join(available)}"
    else:
        what_to_do = f"{LISTS}/ has no lists: write one with the id of an image on each line{MENDS}makes splits"
    return f"dataset.splits.{split}={name}: {LISTS}/{name}.txt not found{nearest(name, available)}; {what_to_do}"


def _text(path: Path, file: str, converts: bool, faults: list[str]) -> str | None:
    """The text of a list; None, and a fault, if it is not in UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        faults.append(f"{file}: cannot be read: {error.strerror}")
        return None
    text, encoding = decode_list(content)
    if encoding == UTF_8:
        return text
    what = f"is {encoding}"
    if encoding == WESTERN:
        number, line = next(
            (number, line) for number, line in enumerate(content.splitlines(), 1) if not _is_utf_8(line)
        )
        file, what = f"{file} line {number}: '{line.decode(WESTERN)}'", "is not UTF-8"
    faults.append(
        f"{file}: cannot be read as text: {what}; one id on each line, in UTF-8, expected"
        + (f"{MENDS}reads it as {encoding}" if converts else "")
    )
    return None


def decode_list(content: bytes) -> tuple[str, str]:
    """The text of a list, and the encoding that it is in: UTF-8, UTF-16, or what is neither, taken as ISO-8859-1."""
    encoding = _utf_16(content) or (UTF_8 if _is_utf_8(content) else WESTERN)
    return content.decode("utf-8-sig" if encoding == UTF_8 else encoding, "replace"), encoding


def _is_utf_8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _utf_16(content: bytes) -> str | None:
    """The encoding of a list in UTF-16, with a byte order mark or with the zeros of plain letters; else None."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    start = content[:200]
    if len(start) > 1 and len(start) % 2 == 0 and 0 in start:
        for encoding, zeros in (("UTF-16LE", start[1::2]), ("UTF-16BE", start[::2])):
            if not any(zeros):
                return encoding
    return None


def _leads_outside(example_id: str) -> bool:
    path = PurePosixPath(example_id)
    return path.is_absolute() or ".." in path.parts or "\0" in example_id or "\\" in example_id


# ---- lines in the forms of other tools


def _form(file: str, lines: Sequence[str], number: int, converts: bool, exists: Exists) -> Fault | None:
    """The fault of a line that is in the form of another tool; None for any other line.

    The form is certain: what remains of the line is the id of an image.

    Args:
        converts: whether a conversion takes the splits of this list.
    """
    line = lines[number - 1]
    where = f"{file} line {number}: '{line}'"
    name = f"line {number}"
    if number == 1 and len(lines) > 1 and HEADER.fullmatch(line):
        what = f"{where} is a header; one id on each line expected"
        return Fault("header", name, what, "a conversion leaves it out" if converts else "")
    base = PurePosixPath(line).name
    if base.startswith("._") or base in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        what = f"{where} is a file of the operating system, no image"
        return Fault("no image", name, what, "a conversion leaves such lines out" if converts else "")
    used, example_id = id_in_line(line, exists)
    if not used:
        return None
    to_do = f"one id on each line expected, such as '{example_id}'" + (f"{MENDS}takes the ids" if converts else "")
    return Fault(("form", *used), name, f"{where} is {_words(line, used)}", to_do)


def id_in_line(line: str, exists: Exists) -> tuple[list[str], str]:
    """The steps that take the id of an image out of a line, and the id; no steps if there is no such image."""
    for without in ({"folders"}, {"folder of images"}, {"columns", "folders"}, {"columns", "folder of images"}):
        used, text = [], line
        for step, (pattern, replacement) in STEPS.items():
            changed = text if step in without else re.sub(pattern, replacement, text)
            if changed != text:
                used.append(step)
            text = changed.strip()
            if used and text and not _leads_outside(text) and exists(text):
                return used, text
    return [], ""


def _words(line: str, used: Sequence[str]) -> str:
    """The form of a line."""
    if "columns" in used:
        columns = [part for part in re.split(r"[\s,;|]+", line.strip()) if part]
        if all(re.search(rf"(?i){ENDING}", column.strip("\"'")) for column in columns) and len(columns) == 2:
            return "an image and its mask"
        separated = " separated by commas" if "," in line else ""
        if all(re.fullmatch(r"[+-]?\d+", column) for column in columns[1:]):
            return f"an id with a label{separated}" if len(columns) == 2 else f"an id with labels{separated}"
        return f"several columns{separated}"
    if re.match(r"/|[A-Za-z]:[\\/]", line):
        return "an absolute path"
    if "backslashes" in used:
        return "a path of Windows"
    if "ending" in used:
        return "a path with an ending" if "/" in line else "an id with an ending"
    return "a path" if {"folders", "folder of images"} & set(used) else "a quoted id"
