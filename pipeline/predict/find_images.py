"""Which files are predicted, with which masks, and that no result overwrites anything but an earlier result."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from pipeline.data.layout import IMAGE_SUFFIXES
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import is_unicode, plain

# What follows an image's stem in the names of its results.
MASK, OVERLAY, CONFIDENCE, PROBABILITIES = ".png", "_overlay.png", "_confidence.png", "_probabilities.npz"
ENDS = (MASK, OVERLAY)  # of the results that are always written


def find_images(place: Path, output: Path, ends: Sequence[str] = ENDS) -> tuple[list[Path], str]:
    """The image files of a folder, or the one image file; and what else the folder has, in words.

    Args:
        output: the folder for the results.
        ends: what follows an image's stem in the names of its results.

    Raises:
        UserError: there are none, a name is not text, or a result would overwrite another one, an image, or a mask
            that predict has not written.
    """
    if not place.exists():
        raise UserError(f"input={place}: not found; an image or a folder expected")
    found, others = [place], ""
    if place.is_dir():
        entries = sorted(place.iterdir())
        found = [file for file in entries if _is_image(file)]
        others = _counted(entry for entry in entries if not _is_image(entry))
    if not found:
        raise UserError(
            f"input={place}: has no {', '.join(IMAGE_SUFFIXES)} file, but {others or 'nothing at all'}; the folder "
            "that directly holds the images expected"
        )
    # The tables of results, and files of labelling tools, are UTF-8.
    if not_text := [file.name for file in found if not is_unicode(file.name)]:
        raise UserError(f"input={place}: the name {not_text[0]!a} is not UTF-8; rename the file")
    results = Counter(output / f"{file.stem}{end}" for file in found for end in ends)
    if repeated := sorted(file.name for file, count in results.items() if count > 1):
        raise UserError(
            f"input={place}: several images would be written to {', '.join(repeated[:5])}; rename all but one"
        )
    if lost := sorted({file.resolve() for file in results} & {file.resolve() for file in found}):
        raise UserError(f"output={output}: would overwrite the image {lost[0].name}; choose another folder")
    if place.is_dir() and output.resolve() == place.resolve():
        raise UserError(
            f"output={output}: is the folder of the images, where masks would be taken for images later; choose "
            "another folder"
        )
    # Masks that were drawn by hand have no overlay next to them.
    foreign = [file.stem for file in found if _exists(output, file, MASK) and not _exists(output, file, OVERLAY)]
    if foreign:
        raise UserError(
            f"output={output}: would overwrite {foreign[0]}.png, which is no earlier prediction, since "
            f"{foreign[0]}_overlay.png is missing; choose another folder"
        )
    return found, others


def find_masks(folder: Path, images: Sequence[Path], output: Path) -> dict[Path, Path]:
    """The mask of each image that has one: <folder>/<stem>.png.

    Args:
        output: the folder for the results.

    Raises:
        UserError: no image has a mask, or the results would be written among the masks.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "not found"
        raise UserError(f"masks={folder}: {what}; a folder of index masks named as the images expected")
    if folder.resolve() == output.resolve():
        raise UserError(f"output={output}: is the folder of the given masks; choose another folder")
    found = {image: mask for image in images if (mask := folder / f"{image.stem}.png").is_file()}
    if not found:
        raise UserError(f"masks={folder}: has no mask of any image; {images[0].stem}.png expected for {images[0].name}")
    return found


def _exists(output: Path, file: Path, end: str) -> bool:
    return (output / f"{file.stem}{end}").exists()


def _is_image(file: Path) -> bool:
    """Whether a file of a folder is predicted. Hidden ones, such as macOS's `._x.jpg`, are no images."""
    return file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".") and file.is_file()


def _counted(entries: Iterable[Path]) -> str:
    """`2 .tif, 1 hidden and 3 folders`; empty for no entries."""

    def kind(entry: Path) -> str:
        if entry.is_dir():
            return "folders"
        return "hidden" if entry.name.startswith(".") else plain(entry.suffix.lower()) or "without ending"

    counts = Counter(map(kind, entries)).most_common()
    folders = [f"{count} folder{'s' * (count > 1)}" for name, count in counts if name == "folders"]
    words = [*(f"{count} {name}" for name, count in counts if name != "folders"), *folders]
    return " and ".join(part for part in (", ".join(words[:-1]), *words[-1:]) if part)
