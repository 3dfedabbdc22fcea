"""Which mask belongs to which image, by the names of files and folders alone, in whatever arrangement they are."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pipeline.convert.source import split_of
from pipeline.data.file_roles import NUMPY, Place, Roles, by_folders, role_within, tell_by_names
from pipeline.data.mask_names import IMAGE_WORDS, NAME_WORDS, SPLITS, without_word
from pipeline.data.path_parts import folder_of, folders_of, name_of


@dataclass(slots=True)
class Pair:
    """An image and the files of its mask: one, or one for each class or object."""

    id: str
    image: str
    masks: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)  # the class of each file; None: its values say it
    split: str | None = None


@dataclass
class Pairing:
    """Pairs, and what is left."""

    pairs: list[Pair]
    images: list[str]  # without a mask
    masks: list[str]  # without an image
    rule: str  # how masks were told from images, in words


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
    if left and (affix := _shared_affix(left, images)):
        left = _take(left, images, pairs, lambda place, role: _without_affix(place, role, *affix))
    left = _take_anywhere(left, images, pairs)
    left = _take_of_classes(left, images, pairs)
    left = _take_of_objects(left, images, pairs)
    matched = [pair for pair in pairs.values() if pair.masks]
    _name(matched, {image.path: image for image in images})
    return Pairing(matched, [path for path, pair in pairs.items() if not pair.masks],
                   [place.path for place in left], rule)  # fmt: skip


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


def _take_anywhere(masks: list[Place], images: list[Place], pairs: dict[str, Pair]) -> list[Place]:
    """Masks whose name one image has, in whatever folder, and no other mask."""

    def by_name(places: Iterable[Place], role: str) -> dict[str, list[Place]]:
        found: dict[str, list[Place]] = {}
        for place in places:
            found.setdefault(_bare(place, role)[1], []).append(place)
        return found

    free = by_name((image for image in images if not pairs[image.path].masks), "image")
    left = []
    for name, same in by_name(masks, "mask").items():
        owners = free.get(name, [])
        if len(same) == len(owners) == 1 and not set(map(str.lower, same[0].folders)) & set(SPLITS):
            pairs[owners[0].path].masks, pairs[owners[0].path].labels = [same[0].path], [None]
        else:
            left += same
    return left


def _take_of_classes(masks: list[Place], images: list[Place], pairs: dict[str, Pair]) -> list[Place]:
    """Masks of one class each, in folders called after the classes: masks/cat/a.png, masks/dog/a.png."""
    by_name = {(image.folders, image.stem): pairs[image.path] for image in images}
    left = []
    for mask in masks:
        pair = next(
            (
                by_name[rest, stem]
                for place in range(len(mask.folders))
                for rest in [mask.folders[:place] + mask.folders[place + 1 :]]
                for stem in (mask.stem, without_word(mask.stem, NAME_WORDS))
                if stem is not None and (rest, stem) in by_name and mask.folders[place].lower() not in SPLITS
            ),
            None,
        )
        if pair is None or None in pair.labels:
            left.append(mask)
            continue
        label = next(part for part in mask.folders if part not in pair.image.split("/"))
        pair.masks.append(mask.path)
        pair.labels.append(label)
    return left


def _take_of_objects(masks: list[Place], images: list[Place], pairs: dict[str, Pair]) -> list[Place]:
    """Masks of one object each, in a folder with one image: 12/images/12.png, 12/masks/a.png, 12/masks/b.png."""
    alone: dict[tuple[str, ...], list[Place]] = {}
    for image in images:
        alone.setdefault(image.folders, []).append(image)
    left = []
    for mask in masks:
        owners = alone.get(mask.folders, []) if mask.folders else []
        if len(owners) != 1 or None in pairs[owners[0].path].labels:
            left.append(mask)
            continue
        pairs[owners[0].path].masks.append(mask.path)
        pairs[owners[0].path].labels.append("object")
    return left


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
