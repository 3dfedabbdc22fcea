"""From what a reader found to images and masks in a folder: checked, converted, assigned to splits."""

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.config.classes import colour_faults, hexadecimal
from pipeline.config.schema_dataset import DatasetConfig
from pipeline.convert.images import Recipe, value_range
from pipeline.convert.options import Options
from pipeline.convert.parallel import Workers
from pipeline.convert.report import warnings
from pipeline.convert.source import Found, Item
from pipeline.convert.splits import (
    NAMES,
    SHARES,
    Assigned,
    alike_pairs,
    are_splits,
    by_hash,
    equal_pairs,
    own_splits,
    small_scenes,
    together,
)
from pipeline.convert.work import Done, Task, convert_one
from pipeline.convert.write import Row
from pipeline.data.classes import Classes
from pipeline.data.palette import class_colours
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import enumerated

FORBIDDEN = frozenset('\\:*?"<>|')  # in names of files on some systems
MOST_FAULTS = 20  # that are shown


@dataclass(frozen=True)
class Converted:
    """A source, converted."""

    found: Found
    done: list[Done]
    rows: list[Row]
    recipe: Recipe


def with_safe_ids(found: Found) -> list[Item]:
    """The items with ids that lists can hold, each another one, also where capital letters make no difference."""
    items, taken, changed = [], set(), []
    for item in found.items:
        plainly = item.id
        if not (plainly.isprintable() and FORBIDDEN.isdisjoint(plainly)):
            plainly = "".join(c if c.isprintable() and c not in FORBIDDEN else "_" for c in plainly)
        plainly = "/".join(part.strip(" .") or "_" for part in plainly.split("/"))
        name, number = plainly, 2
        while name.casefold() in taken:
            name, number = f"{plainly}_{number}", number + 1
        taken.add(name.casefold())
        if name != item.id:
            changed.append(f"{item.id} is {name}")
        items.append(item if name == item.id else replace(item, id=name))
    if changed:
        found.notes.append(f"ids that were taken, or that lists cannot hold, were changed: {enumerated(changed, 3)}")
    return items


def recipe_for(options: Options, items: Sequence[Item], workers: Workers) -> Recipe:
    """What is made of images, with the range of values if some have more than 8 bits a channel."""
    if options.intensity is not None:
        return Recipe(options.max_side, options.intensity)
    names = [item.image for item in items if item.image.lower().endswith((".png", ".tif", ".tiff"))]
    found = workers.map(functools.partial(value_range, options.root), names, "looking at images")
    ranges = [one for one in found if one is not None]
    if not ranges:
        return Recipe(options.max_side)
    low, high = min(least for least, _ in ranges), max(most for _, most in ranges)
    return Recipe(options.max_side, (low, high if high > low else low + 1))


def classes_of(found: Found) -> Classes:
    """Names, background and colours; colours of the source are taken if all can be told apart."""
    background = None if found.background is None else found.classes.index(found.background)
    if found.colours is not None:
        colours = [hexadecimal(colour) for colour in found.colours]
        if colour_faults(DatasetConfig(name="folder", classes=found.classes, colours=colours)):
            found.colours = None
    colours_of_all = found.colours or class_colours(len(found.classes), background)
    return Classes(tuple(found.classes), background, tuple(colours_of_all))


def convert(
    options: Options, found: Found, recipe: Recipe, folder: Path | None, earlier: Sequence[Row], workers: Workers
) -> Converted:
    """Convert all images, and assign them to splits; notes and warnings are added to `found`.

    Args:
        folder: that images and masks are written to; None: nothing is written.
        earlier: what an earlier call wrote; its images stay in their splits.

    Raises:
        UserError: with every fault.
    """
    palette = classes_of(found).palette.tobytes()
    task = Task(options.root, recipe, len(found.classes), palette, folder)
    done = list(workers.map(functools.partial(convert_one, task), found.items, "converting images"))
    _require_whole(done)
    assigned, scene = _assign(options, found, done, {row.id: row.split for row in earlier})
    found.notes += assigned.notes
    splits = [split or "" for split in assigned.splits]
    if "train" not in splits:
        raise UserError(f"source={options.source}: no image is left in train", *assigned.warnings)
    found.warnings += assigned.warnings + warnings(found.classes, done, splits, scene)
    rows = [
        Row(
            item.id,
            split,
            item.image,
            item.mask_name,
            one.image_hash,
            one.mask_hash,
        )
        for item, split, one in zip(found.items, splits, done, strict=True)
    ]
    return Converted(found, done, rows, recipe)


def present_classes(done: Sequence[Done]) -> np.ndarray:
    """Which classes each mask shows, (images, classes) bool."""
    return np.array([one.class_pixels for one in done]) > 0


def _require_whole(done: Sequence[Done]) -> None:
    """Raises: UserError: with the faults of images and masks, and the values without a class."""
    faults = [one.fault for one in done if one.fault]
    shown = faults[:MOST_FAULTS]
    if len(faults) > MOST_FAULTS:
        shown.append(f"and {len(faults) - MOST_FAULTS} more like these")
    pixels: Counter[str] = Counter()
    masks: Counter[str] = Counter()
    for one in done:
        if one.unknown:
            pixels += one.unknown
            masks.update(one.unknown.keys())
    if pixels:
        listed = [f"{key} ({masks[key]} masks, {count} pixels)" for key, count in pixels.most_common()]
        shown.append(f"values of masks without a class: {enumerated(listed, MOST_FAULTS)}")
    if shown:
        raise UserError(*shown)


def _assign(options: Options, found: Found, done: Sequence[Done], earlier: Mapping[str, str]) -> tuple[Assigned, int]:
    """The split of each image, and the size of the largest set of near copies that is spread over splits.

    Raises:
        UserError: there is nothing to learn.
    """
    ids = [item.id for item in found.items]
    copies = equal_pairs([one.image_hash for one in done])
    alike = alike_pairs([one.appearance for one in done])
    present = present_classes(done)
    if not present.any():
        raise UserError(
            f"source={options.source}: every mask is void throughout; format={found.format}, values=…, colours=… or "
            "labels=… may say otherwise what is there"
        )
    own = {item.split for item in found.items} - {None}
    if options.leaves_splits and are_splits(own):
        found.notes.append("splits are the source's own; split=[0.8,0.1,0.1] makes others")
        return own_splits(ids, [item.split for item in found.items], copies, alike, np.any(present, axis=1)), 0
    if options.split is None and own:
        found.notes.append(f"the source's own splits ({', '.join(sorted(map(str, own)))}) are not used")
    kept, scene = small_scenes(alike, len(ids))
    groups = _groups(options, ids)
    units = together(groups, copies, kept)
    shares = options.split or SHARES
    words = ", ".join(f"{share:g} {name}" for name, share in zip(NAMES, shares, strict=True))
    found.notes.append(f"split by hash into {words}; split=[…] sets other shares")
    names = [group if group is not None else name for group, name in zip(groups, ids, strict=True)]
    return by_hash(ids, names, present, units, shares, earlier), scene


def _groups(options: Options, ids: Sequence[str]) -> list[str | None]:
    """The group of each id; None without one.

    Raises:
        UserError: the pattern matches no id.
    """
    if options.group is None:
        return [None] * len(ids)
    number = min(options.group.groups, 1)
    groups = [match[number] if (match := options.group.search(name)) else None for name in ids]
    if not any(groups):
        raise UserError(f"group={options.group.pattern}: matches no id; ids are such as {enumerated(ids, 3)}")
    return groups
