"""Which files of a source are images and which are masks, by the names of files and folders alone."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.data.mask_names import MASK_WORDS, NAME_WORDS, SEPARATED, role_of_folder, without_word
from pipeline.data.path_parts import folder_of, folders_of, stem_of

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif")
NUMPY = ".npy"
NUMBERED = re.compile(rf"(.+?){SEPARATED}\d+")
MASK_ENDINGS = (*IMAGE_ENDINGS, NUMPY)


@dataclass(frozen=True, slots=True)
class Place:
    """A file, with the folders that say nothing of its role, and its name without an ending."""

    path: str
    folders: tuple[str, ...]
    stem: str


Roles = dict[str, list[Place]]  # image, mask, and "" for files of which no name says what they are


def role_within(folder: str) -> tuple[str, tuple[str, ...]]:
    """Of the files in a folder: image, mask, other, or "" if no folder says anything; and the folders that remain."""
    parts = folders_of(f"{folder}/") if folder else ()
    for place in range(len(parts) - 1, -1, -1):
        role, rest = role_of_folder(parts[place])
        if role == "other":
            return role, parts
        if role:
            return role, (*parts[:place], *((rest,) if rest else ()), *parts[place + 1 :])
    return "", parts


def by_folders(paths: Iterable[str], role_of: Callable[[str], tuple[str, tuple[str, ...]]] = role_within) -> Roles:
    """The images and masks of a source, as their folders tell them apart; files of other kinds are left out."""
    found: Roles = {"image": [], "mask": [], "": []}
    roles: dict[str, tuple[str, tuple[str, ...]]] = {}
    for path in paths:
        folder = folder_of(path)
        if folder not in roles:
            roles[folder] = role_of(folder)
        role, folders = roles[folder]
        if role == "" and path.lower().endswith(NUMPY):
            role = "mask"
        if role in found and path.lower().endswith(MASK_ENDINGS if role == "mask" else IMAGE_ENDINGS):
            names = (unicodedata.normalize("NFC", name) for name in (*folders, stem_of(path)))
            *folded, stem = names  # macOS writes names in another Unicode form than lists and other systems
            found[role].append(Place(path, tuple(folded), stem))
    return found


def tell_by_names(found: Roles) -> None:
    """Tell masks from images among files that no folder tells apart: a_mask.png next to a.jpg; changed in place."""
    images = {(place.folders, place.stem) for role in ("image", "") for place in found[role]}
    lossy = {(place.folders, place.stem) for place in found[""] if place.path.lower().endswith((".jpg", ".jpeg"))}
    for role in ("image", ""):
        stay: list[Place] = []
        for place in found[role]:
            if role == "" and place.path.lower().endswith(".png") and (place.folders, place.stem) in lossy:
                found["mask"].append(place)  # a.png next to a.jpg
                continue
            base = without_word(place.stem, NAME_WORDS)
            if base is None and (stem := without_number(place.stem)) is not None:
                base = without_word(stem, MASK_WORDS)  # a_mask_1.png next to a.png and a_mask.png
            named = base is not None and (
                (place.folders, base) in images
                or (role == "" and any((place.folders, name) in images for name in _image_names(base)))
            )
            (found["mask"] if named else stay).append(place)
        found[role] = stay


def without_number(stem: str) -> str | None:
    """A name without a number after a separator; None if it has none."""
    match = NUMBERED.fullmatch(stem)
    return match[1] if match else None


def _image_names(base: str) -> list[str]:
    return [f"{base}_{word}" for word in ("image", "img", "rgb")] + [f"{word}_{base}" for word in ("image", "img")]


def has_masks(paths: Iterable[str]) -> bool:
    """Whether names of files or of their folders say that some are masks of others."""
    found = by_folders(paths)
    tell_by_names(found)
    images = {(place.folders, place.stem) for role in ("image", "") for place in found[role]}
    return bool(images) and any(
        not place.path.lower().endswith(NUMPY)  # an array may be anything
        or place.folders != folders_of(place.path)
        or {(place.folders, name) for name in (place.stem, without_word(place.stem, NAME_WORDS))} & images
        for place in found["mask"]
    )
