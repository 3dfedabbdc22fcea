"""Which mask belongs to which image, by the names of files and folders alone, in whatever arrangement they are."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from pipeline.convert.mask_parts import Pair, take_numbered, take_of_classes, take_of_objects
from pipeline.convert.source import split_of
from pipeline.data.file_roles import NUMPY, Place, Roles, by_folders, role_within, tell_by_names
from pipeline.data.mask_names import IMAGE_WORDS, NAME_WORDS, SPLITS, without_word
from pipeline.data.path_parts import folder_of, folders_of, name_of


@dataclass
class Pairing:
    """Pairs, and what is left."""

    pairs: list[Pair]
    images: list[str]  # without a mask
    masks: list[str]  # without an image
    rule: str  # how masks were told from images, in words
    unsure: list[Pair]  # whose folders may be called after classes, or after something else


_Key = tuple[tuple[str, ...], str]  # folders and name by which a mask and an image are compared


def pair_files(paths: Iterable[str], images: str | None = None, masks: str | None = None) -> Pairing:
    """Pair the files of a source.

    Args:
        paths: of all files, relative to the source.
        images, masks: folders that hold them; None: they are recognised by usual names of folders and files.
    """
    found = by_folders(paths, lambda folder: _role(folder, images, masks))
    as_images = [place for place in found["mask"] if not place.path.lower().endswith(NUMPY)]
    found["mask"] = as_images or found["mask"]  # tools that write both write the same twice
    rule = _words(found)
    if images is None and masks is None:
        tell_by_names(found)
        if found["mask"] and not rule:
            example = min(found["mask"], key=lambda place: place.path).path
            rule = f"masks are the files called as {name_of(example)}, next to their images"
    if not found["image"]:
        found["image"], found[""] = found[""], []
    return _match(found["image"], found["mask"], rule)


def _role(within: str, images: str | None, masks: str | None) -> tuple[str, tuple[str, ...]]:
    """Of the files in a folder: image, mask, other, or "" if no folder says anything; and the folders that remain."""
    if images is None and masks is None:
        return role_within(within)
    parts = folders_of(f"{within}/") if within else ()
    for role, folder in (("mask", masks), ("image", images)):
        if folder == ".":
            return role, parts
        if folder is not None and f"{within}/".startswith(f"{folder}/"):
            return role, folders_of(f"{within}/"[len(folder) + 1 :])
    return "image" if images is None else "other", parts


def _words(found: Roles) -> str:
    """Which folders decided, in words; empty if none did."""
    tops = {
        role: sorted({_top(*where) for where in {(folder_of(place.path), place.folders) for place in found[role]}})[:3]
        for role in ("image", "mask")
        if found[role]
    }
    if "mask" not in tops:
        return ""
    images = ", ".join(f"{top}/" for top in tops["image"]) if "image" in tops else "the other files"
    return f"images: {images}; masks: {', '.join(f'{top}/' for top in tops['mask'])}"


def _top(folder: str, remaining: tuple[str, ...]) -> str:
    """The folder that the role of files in a folder is from: the first that does not remain."""
    parts = folder.split("/")
    for count, part in enumerate(parts, 1):
        if part not in remaining:
            return "/".join(parts[:count])
    return folder


def _match(images: list[Place], masks: list[Place], rule: str) -> Pairing:
    """Give each mask to an image: by the same name, without words for the role, by what all names share, by folder."""
    pairs = {
        image.path: Pair("", image.path, split=split_of("/".join((*image.folders, image.stem)))) for image in images
    }
    left = list(masks)
    for names in (_exact, _bare):
        left = _take(left, images, pairs, names)
    left = take_numbered(left, masks, images, pairs)
    if left and (affix := _shared_affix(left, images)):
        left = _take(left, images, pairs, lambda place, role: _without_affix(place, role, *affix))
    left, unsure = take_of_classes(left, images, pairs)
    left = _take_anywhere(left, masks, images, pairs)
    left = take_of_objects(left, images, pairs)
    matched = [pair for pair in pairs.values() if pair.masks]
    _name(matched, {image.path: image for image in images})
    return Pairing(matched, [path for path, pair in pairs.items() if not pair.masks],
                   [place.path for place in left], rule, unsure)  # fmt: skip


def _without_affix(place: Place, role: str, before: str, after: str) -> _Key:
    stem = place.stem
    if role == "mask" and stem.startswith(before) and stem.endswith(after):
        stem = stem[len(before) : len(stem) - len(after)]
    return place.folders, stem


def _exact(place: Place, _: str) -> _Key:
    return place.folders, place.stem


def _bare(place: Place, role: str) -> _Key:
    bare = without_word(place.stem, NAME_WORDS if role == "mask" else IMAGE_WORDS)
    return place.folders, place.stem if bare is None else bare


def _take(
    masks: list[Place], images: list[Place], pairs: dict[str, Pair], key: Callable[[Place, str], _Key]
) -> list[Place]:
    """Give masks to the images of the same key that have none; returns the others."""
    free = {key(image, "image"): image for image in images if not pairs[image.path].masks}
    left = []
    for mask in masks:
        image = free.get(key(mask, "mask"))
        if image is None or pairs[image.path].masks:
            left.append(mask)
        else:
            pairs[image.path].masks, pairs[image.path].labels = [mask.path], [None]
    return left


def _shared_affix(masks: list[Place], images: list[Place]) -> tuple[str, str] | None:
    """What precedes and follows the names of images in those of their masks, if it is the same for most of them."""
    names = {(image.folders, image.stem) for image in images}
    for mask in masks[:5]:
        stem = mask.stem
        for length in range(len(stem) - 1, 0, -1):
            for before, after in (("", stem[length:]), (stem[: len(stem) - length], "")):
                base = stem[len(before) : len(stem) - len(after)]
                if (mask.folders, base) in names and (re.match(r"[_\-. ]", after) or re.search(r"[_\-. ]$", before)):
                    return before, after
    return None


def _take_anywhere(left: list[Place], masks: list[Place], images: list[Place], pairs: dict[str, Pair]) -> list[Place]:
    """Masks whose name one image has, in whatever folder, and no other mask.

    Of all images and masks: another image of that name may be the one whose mask is missing.
    """

    def by_name(places: Iterable[Place], role: str) -> dict[str, list[Place]]:
        found: dict[str, list[Place]] = {}
        for place in places:
            found.setdefault(_bare(place, role)[1], []).append(place)
        return found

    owners, same = by_name(images, "image"), by_name(masks, "mask")
    still = []
    for mask in left:
        name = _bare(mask, "mask")[1]
        owner = pairs[owners[name][0].path] if len(owners.get(name, [])) == len(same[name]) == 1 else None
        if owner is None or owner.masks or set(map(str.lower, mask.folders)) & set(SPLITS):
            still.append(mask)
        else:
            owner.masks, owner.labels = [mask.path], [None]
    return still


def _name(pairs: list[Pair], places: dict[str, Place]) -> None:
    """Ids: the folders that say neither role nor split, and the name; with the split where two would be the same."""
    ids: dict[str, list[Pair]] = {}
    for pair in pairs:
        place = places[pair.image]
        folders = [part for part in place.folders if part.lower() not in SPLITS]
        ids.setdefault("/".join([*folders, place.stem]), []).append(pair)
    for name, same in ids.items():
        for pair in same:
            pair.id = name if len(same) == 1 else "/".join([*places[pair.image].folders, places[pair.image].stem])
