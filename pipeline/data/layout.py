"""The folders of a dataset in PASCAL VOC layout; where they are missing, what lies there instead and what to type."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from pipeline.data.conversion import classes_argument
from pipeline.data.file_roles import IMAGE_ENDINGS
from pipeline.data.recognise import convert_command, kind_of_file, list_files, recognise
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import nearest

LISTS, MASKS, IMAGES = "ImageSets/Segmentation", "SegmentationClass", "JPEGImages"
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png")
LAYOUT = f"a folder with {IMAGES}/, {MASKS}/ and {LISTS}/ expected"
FOLDERS = (IMAGES, MASKS, LISTS)
MOST_ENTRIES = 5  # of a folder that a message names


def require_layout(root: Path, classes: Sequence[str]) -> None:
    """Refuse a folder that is not in VOC layout.

    Args:
        classes: those of the run.

    Raises:
        UserError: says what is missing, what lies there, and the commands that make the layout.
    """
    missing = [name for name in FOLDERS if not (root / name).is_dir()]
    if not missing:
        return
    if not root.is_dir():
        what = "is a file" if root.exists() else "folder not found"
        siblings = [other.name for other in _entries(root.parent) if other.is_dir()] if root.parent.is_dir() else []
        raise UserError(
            f"dataset.root={root}: {what}{nearest(root.name, siblings)}; {LAYOUT}", *_conversion(root, classes)
        )
    names = ", ".join(f"{name}/" for name in missing)
    start = f"dataset.root={root}: missing {names}"
    if complete := _complete_folders(root):
        others = f", or {', '.join(str(folder) for folder in complete[1:4])}" if complete[1:] else ""
        raise UserError(f"{start} (did you mean '{complete[0]}'{others}?); {LAYOUT}")
    raise UserError(f"{start}; it has {_content(root)}; {LAYOUT}", *_conversion(root, classes))


def _conversion(root: Path, classes: Sequence[str]) -> list[str]:
    """The command that converts what lies here, as a line; no line if there are no images."""
    seen = recognise(root) if root.exists() else None
    if seen is None and root.is_dir() and any(path.lower().endswith(IMAGE_ENDINGS) for path in list_files(root)):
        command = convert_command(root, "images=<folder>", "masks=<folder>")
        return [
            f"dataset.root={root}: masks are not recognised by the names of folders and files; say where they are: "
            + command
        ]
    if seen is None:
        return []
    return [
        f"dataset.root={root}: looks like {seen.format} ({seen.why}); to write it in this layout, type: "
        + convert_command(root, *seen.arguments, *(classes_argument(classes) if seen.format == "masks" else []))
    ]


def _complete_folders(root: Path) -> list[Path]:
    """The folders above `root`, and at most two levels below it, that are in VOC layout."""
    below = [folder for folder in _entries(root) if folder.is_dir()]
    below += [folder for parent in below[:100] for folder in _entries(parent) if folder.is_dir()]
    return [folder for folder in (*root.parents, *below) if all((folder / name).is_dir() for name in FOLDERS)]


def _entries(folder: Path) -> list[Path]:
    """What a folder holds, by name, without hidden entries; nothing if it may not be read."""
    try:
        return sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    except OSError:
        return []


def _content(root: Path) -> str:
    """`images/ (50 .jpg), masks/ (50 .png) and instances.json (COCO)`."""
    found = [f"{entry.name}/ ({_counts(entry)})" if entry.is_dir() else _file(entry) for entry in _entries(root)]
    shown, more = found[:MOST_ENTRIES], len(found) - MOST_ENTRIES
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "") if found else "nothing"


def _counts(folder: Path) -> str:
    entries = _entries(folder)
    suffixes = Counter(entry.suffix.lower() or "without ending" for entry in entries if not entry.is_dir())
    words = [f"{count} {suffix}" for suffix, count in suffixes.most_common(3)]
    if folders := sum(entry.is_dir() for entry in entries):
        words.append(f"{folders} folders")
    kinds = {f"outlines of {kind}, not masks" for entry in entries[:3] if (kind := kind_of_file(entry))}
    return ", ".join(words + sorted(kinds)) or "empty"


def _file(file: Path) -> str:
    kind = kind_of_file(file)
    return f"{file.name} (outlines of {kind}, not masks)" if kind else file.name
