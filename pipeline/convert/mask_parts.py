"""Masks of several files each: one for each class, in folders called after the classes, or one for each object."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from pipeline.convert.unknown_values import OBJECT
from pipeline.data.file_roles import Place, without_number
from pipeline.data.mask_names import IMAGE_WORDS, NAME_WORDS, SPLITS, without_word


@dataclass(slots=True)
class Pair:
    """An image and the files of its mask: one, or one for each class or object."""

    id: str
    image: str
    masks: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)  # the class of each file; None: its values say it
    split: str | None = None

    def add(self, mask: Place, label: str) -> None:
        """Add a file of one class or object; a mask that was all there was becomes the first of them."""
        self.labels = [OBJECT if each is None else each for each in self.labels]
        self.masks.append(mask.path)
        self.labels.append(label)


def take_of_classes(
    masks: Sequence[Place], images: Sequence[Place], pairs: dict[str, Pair]
) -> tuple[list[Place], list[Pair]]:
    """Give images their masks of one class each, in folders called after the classes: masks/cat/a.png, masks/dog/a.png.

    Folders are classes if an image has masks in two of them. Where each image has one mask, they may be batches as
    well: they are taken for classes if there are several and no name has a digit.

    Returns:
        The other masks, and the pairs of which only the names of folders say that they have classes.
    """
    by_name = {(image.folders, image.stem): pairs[image.path] for image in images}
    groups: dict[int, list[tuple[Place, Pair, str]]] = {}  # by the depth of the folders of the classes
    left = []
    for mask in masks:
        place, pair = _owner(mask, by_name)
        if pair is None or pair.masks:
            left.append(mask)
        else:
            groups.setdefault(place, []).append((mask, pair, mask.folders[place]))
    unsure = []
    for group in groups.values():
        labels = {label for _, _, label in group}
        shared = len({pair.image for _, pair, _ in group}) < len(group)
        if not shared and (len(labels) == 1 or any(re.search(r"\d", label) for label in labels)):
            left += [mask for mask, _, _ in group]
            continue
        for mask, pair, label in group:
            pair.add(mask, label)
        unsure += [] if shared else [pair for _, pair, _ in group]
    return left, unsure


def _owner(mask: Place, by_name: dict[tuple[tuple[str, ...], str], Pair]) -> tuple[int, Pair | None]:
    """The innermost folder of a mask without which it is called as an image, by its place, and that image's pair."""
    for place, label in reversed(list(enumerate(mask.folders))):
        folders = mask.folders[:place] + mask.folders[place + 1 :]
        for stem in (mask.stem, without_word(mask.stem, NAME_WORDS)):
            if stem is not None and (folders, stem) in by_name and label.lower() not in SPLITS:
                return place, by_name[folders, stem]
    return 0, None


def take_numbered(
    left: Sequence[Place], masks: Sequence[Place], images: Sequence[Place], pairs: dict[str, Pair]
) -> list[Place]:
    """Give images their masks of one object each, with numbers: a_0.png, a_1.png; a_mask.png, a_mask_1.png.

    Where an image has a number after the name of another one, numbers tell images apart, not objects.

    Args:
        left: the masks without an image, of all `masks`.

    Returns:
        Those of them that have none yet.
    """
    numbered_images = {(image.folders, without_number(image.stem)) for image in images}
    stems = {mask.path: mask.stem for mask in masks}
    owners: dict[tuple[tuple[str, ...], str], Pair] = {}
    for image in images:
        pair = pairs[image.path]
        own = {image.stem, without_word(image.stem, IMAGE_WORDS) or image.stem}
        if not pair.masks:
            owners |= {(image.folders, name): pair for name in own if (image.folders, name) not in numbered_images}
        elif (stem := stems[pair.masks[0]]) not in own:  # which has a word, after which there may be a number
            owners[image.folders, stem] = pair
    found: dict[str, list[Place]] = {}
    for mask in left:
        bases = [without_number(stem) for stem in (mask.stem, without_word(mask.stem, NAME_WORDS)) if stem]
        names = [name for base in bases if base for name in (base, without_word(base, NAME_WORDS)) if name]
        owner = next((owners[mask.folders, name] for name in names if (mask.folders, name) in owners), None)
        if owner is not None:
            found.setdefault(owner.image, []).append(mask)
    if not any(len(parts) + len(pairs[path].masks) > 1 for path, parts in found.items()):
        return list(left)  # one each: the number may be what the names of all masks share
    for path, parts in found.items():
        for mask in parts:
            pairs[path].add(mask, OBJECT)
    taken = {mask.path for parts in found.values() for mask in parts}
    return [mask for mask in left if mask.path not in taken]


def take_of_objects(masks: Sequence[Place], images: Sequence[Place], pairs: dict[str, Pair]) -> list[Place]:
    """Give images their masks of one object each, next to one image: 12/images/12.png, 12/masks/a.png, 12/masks/b.png.

    Returns:
        The other masks.
    """
    alone: dict[tuple[str, ...], list[Place]] = {}
    for image in images:
        alone.setdefault(image.folders, []).append(image)
    left = []
    for mask in masks:
        owners = alone.get(mask.folders, []) if mask.folders else []
        if len(owners) != 1 or None in pairs[owners[0].path].labels:
            left.append(mask)
        else:
            pairs[owners[0].path].add(mask, OBJECT)
    return left
