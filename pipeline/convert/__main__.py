"""From any labelling tool to a folder that can be trained on: `python -m pipeline.convert`."""

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pipeline.config.classes import AUTO, colour_faults, hexadecimal
from pipeline.config.schema import DatasetConfig
from pipeline.convert import ade20k, cityscapes, coco, cvat, labelme, masks, supervisely
from pipeline.convert.contact_sheet import choose, contact_sheet
from pipeline.convert.images import Recipe, value_range
from pipeline.convert.options import Options, parse_options, require_fitting
from pipeline.convert.parallel import in_parallel
from pipeline.convert.report import class_table, differences, image_notes, say, summary, warnings
from pipeline.convert.source import Files, Found, Item
from pipeline.convert.splits import (
    NAMES,
    SHARES,
    Assigned,
    alike_pairs,
    by_hash,
    equal_pairs,
    own_splits,
    small_scenes,
    together,
)
from pipeline.convert.work import Done, Job, convert_one
from pipeline.convert.write import (
    SHEET,
    Row,
    finish,
    read_earlier,
    unfinished,
    write_dataset_file,
    write_lists,
    write_manifest,
)
from pipeline.data.classes import Classes
from pipeline.data.layout import IMAGES, MASKS
from pipeline.data.palette import class_colours
from pipeline.data.recognise import ARCHIVES, recognise
from pipeline.runtime import signals
from pipeline.runtime.cli import run_tool
from pipeline.runtime.console import PreparationDisplay
from pipeline.runtime.errors import UserError
from pipeline.runtime.progress import Progress
from pipeline.runtime.text import enumerated

HELP = """\
Writes images and masks of a labelling tool, or of a public dataset, as a folder that `python run.py dataset=folder` reads.

  python -m pipeline.convert source=<folder or file> output=<new folder>

What it guesses it says, with the key that sets it. The output is there whole or not at all; a second call says what would
change.

source=…         folder, or a COCO JSON or CVAT XML file
output=…         new folder: JPEGImages/, SegmentationClass/, ImageSets/Segmentation/, dataset.yaml (classes, background,
                 colours), contact_sheet.png (look at it!), convert.csv (what each example was made of)
overwrite=true   replaces what an earlier call wrote there
format=…         auto (the default), masks, coco, labelme, cvat, cityscapes, ade20k or supervisely
classes=…        names in the order of their indices, such as '[background,cat,dog]'
background=…     the class that is the background, or null if none is; auto: the one called background. Of outlines it is
                 what none of them covers; with null that is void
split=…          shares of train, val and test, such as '[0.8,0.1,0.1]', in place of the tool's own splits
group=…          regular expression: images whose ids agree in its first group stay in one split: '^(\\w+?)_' for a_1, a_2
max_side=…       longest side of the written images, in pixels; larger ones are made smaller
intensity=…      '[low,high]' that becomes 0 to 255 in images of more than 8 bits; by default lowest and highest of all

format=masks: masks in files
images=… masks=…   their folders in the source, if the names do not tell
values=…         what values of masks mean: '{0: background, 255: object}'; void: neither learnt nor scored
colours=…        what colours of masks mean: '{"#000000": background, "#800000": cat}'
tolerance=…      greatest difference of a channel, 0 to 255, at which a pixel is taken for the nearest of them, for blurred
                 edges

format=coco, labelme, cvat or supervisely: outlines
labels=…         classes for labels of other names: '{kitten: cat, unclear: void}'
"""
READERS: dict[str, Callable[[Options, Files, Progress], Found]] = {
    "masks": masks.read,
    "coco": coco.read,
    "labelme": labelme.read,
    "cvat": cvat.read,
    "cityscapes": cityscapes.read,
    "ade20k": ade20k.read,
    "supervisely": supervisely.read,
}


@dataclass(frozen=True)
class Converted:
    """A source, converted."""

    found: Found
    done: list[Done]
    rows: list[Row]
    recipe: Recipe


def main(arguments: list[str]) -> int:
    """Convert a source; returns the exit status.

    Raises:
        UserError: arguments or source are wrong; nothing was written.
    """
    options = parse_options(arguments)
    signals.install()
    earlier = read_earlier(options.output)
    with PreparationDisplay() as progress:
        found = _read(options, progress)
        _say_notes(found)
        recipe = _recipe(options, found.items, progress)
        if earlier is not None and not options.overwrite:
            return _compare(options, found, recipe, earlier, progress)
        with unfinished(options.output) as folder:
            converted = _convert(options, found, recipe, folder, earlier or [], progress)
            classes = _classes(found)
            _write_rest(options, converted, classes, folder, arguments)
            finish(folder, options.output)
    _report(options, converted)
    return 0


def _read(options: Options, progress: Progress) -> Found:
    """Recognise the source and read it.

    Raises:
        UserError: it cannot be.
    """
    source = options.source
    if not source.exists():
        raise UserError(f"source={source}: not found")
    if source.resolve() == options.output.resolve():
        raise UserError(f"output={options.output}: is the source; the name of a new folder expected")
    if source.is_file() and source.suffix.lower() in ARCHIVES:
        raise UserError(f"source={source}: is an archive; unpack it and give its folder")
    form = options.format
    if form == AUTO:
        seen = recognise(source)
        if seen is None and (options.masks or options.images):
            form = "masks"
        elif seen is None:
            raise _not_recognised(source)
        else:
            form = seen.format
            say(f"note: format={form}: {seen.why}")
    require_fitting(options, form)
    files = Files.below(source if source.is_dir() else source.parent, options.output)
    found = READERS[form](options, files, progress)
    found.warnings += files.note_links()
    if not found.items:
        raise UserError(f"source={source}: no image with a mask", *found.warnings)
    found.items = _with_safe_ids(found)
    return found


def _not_recognised(source: Path) -> UserError:
    content = enumerated(sorted(entry.name + "/" * entry.is_dir() for entry in source.iterdir()), 8) if (
        source.is_dir()
    ) else "is a file"  # fmt: skip
    return UserError(
        f"source={source}: not recognised; it has {content or 'nothing'}. Masks next to images need folders or names with "
        "a word such as masks or _mask, or images=<folder> masks=<folder>; of the other tools, format=… reads coco, "
        "labelme, cvat, cityscapes, ade20k and supervisely"
    )


def _with_safe_ids(found: Found) -> list[Item]:
    """The items with ids that lists can hold, each another one, also where capital letters make no difference."""
    items, taken, changed = [], set(), []
    for item in found.items:
        plainly = "".join(c if c.isprintable() and c not in '\\:*?"<>|' else "_" for c in item.id)
        plainly = "/".join(part.strip(" .") or "_" for part in plainly.split("/"))
        name, number = plainly, 2
        while name.casefold() in taken:
            name, number = f"{plainly}_{number}", number + 1
        taken.add(name.casefold())
        if name != item.id:
            changed.append(f"{item.id} is {name}")
        items.append(replace(item, id=name))
    if changed:
        found.notes.append(f"ids that were taken, or that lists cannot hold, were changed: {enumerated(changed, 3)}")
    return items


def _recipe(options: Options, items: Sequence[Item], progress: Progress) -> Recipe:
    """What is made of images, with the range of values if some have more than 8 bits a channel."""
    if options.intensity is not None:
        return Recipe(options.max_side, options.intensity)
    paths = [item.image for item in items if item.image.suffix.lower() in (".png", ".tif", ".tiff")]
    ranges = [found for found in in_parallel(value_range, paths, "looking at images", progress) if found is not None]
    if not ranges:
        return Recipe(options.max_side)
    low, high = min(least for least, _ in ranges), max(most for _, most in ranges)
    return Recipe(options.max_side, (low, high if high > low else low + 1))


def _classes(found: Found) -> Classes:
    """Names, background and colours.

    Raises:
        UserError: the colours of the source cannot be told apart.
    """
    background = None if found.background is None else found.classes.index(found.background)
    colours = found.colours
    if colours is not None:
        dataset = DatasetConfig(
            name="folder", classes=found.classes, colours=[hexadecimal(colour) for colour in colours]
        )
        if colour_faults(dataset):
            colours = None
    return Classes(
        tuple(found.classes), background, tuple(colours or class_colours(len(found.classes), background))
    )


def _convert(
    options: Options, found: Found, recipe: Recipe, folder: Path | None, earlier: Sequence[Row], progress: Progress
) -> Converted:
    """Convert all images, and assign them to splits.

    Raises:
        UserError: with every fault.
    """
    palette = _classes(found).palette.tobytes()
    jobs = [Job(item, recipe, len(found.classes), palette, folder) for item in found.items]
    done = list(in_parallel(convert_one, jobs, "converting images", progress))
    _require_whole(found, done)
    assigned, scene = _assign(options, found, done, {row.id: row.split for row in earlier})
    found.notes += assigned.notes
    splits = [split or "" for split in assigned.splits]
    found.warnings += assigned.warnings + warnings(found.classes, done, splits, scene)
    root = options.source if options.source.is_dir() else options.source.parent
    rows = [
        Row(item.id, split, _relative(item.image, root), item.mask_name, one.image_hash, one.mask_hash)
        for item, split, one in zip(found.items, splits, done, strict=True)
    ]
    return Converted(found, done, rows, recipe)


def _relative(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _require_whole(found: Found, done: Sequence[Done]) -> None:
    """Raises: UserError: with the faults of images and masks, and the values without a class."""
    faults = [one.fault for one in done if one.fault]
    shown = faults[:20] + ([f"and {len(faults) - 20} more like these"] if len(faults) > 20 else [])
    unknown: Counter[str] = Counter()
    holders: Counter[str] = Counter()
    for one in done:
        if one.unknown:
            unknown += one.unknown
            holders.update(one.unknown.keys())
    if unknown:
        listed = [f"{key} ({holders[key]} masks, {count} pixels)" for key, count in unknown.most_common()]
        shown.append(f"values of masks without a class: {enumerated(listed, 20)}")
    if shown:
        raise UserError(*shown)


def _assign(
    options: Options, found: Found, done: Sequence[Done], earlier: dict[str, str]
) -> tuple[Assigned, int]:
    """The split of each image, and the size of the largest set of near copies that is not kept together.

    Raises:
        UserError: there is nothing to train on.
    """
    ids = [item.id for item in found.items]
    copies = equal_pairs([one.image_hash for one in done])
    own = {item.split for item in found.items}
    if options.split is None and "train" in own and len(own - {None}) > 1:
        found.notes.append("splits are the source's own; split=[0.8,0.1,0.1] makes others")
        valid = [bool(one.class_pixels.any()) for one in done if one.class_pixels is not None]
        return own_splits(ids, [item.split for item in found.items], copies, valid), 0
    if options.split is None and own - {None}:
        found.notes.append(f"the source has {', '.join(sorted(s for s in own if s))} alone, so it is split anew")
    groups = [_group(options, name) for name in ids]
    if options.group is not None and not any(groups):
        raise UserError(f"group={options.group.pattern}: matches no id; ids are such as {enumerated(ids, 3)}")
    kept, scene = small_scenes(alike_pairs([one.appearance for one in done]), len(ids))
    units = together(groups, copies, kept)
    shares = options.split or SHARES
    present = np.array([one.class_pixels for one in done]) > 0
    found.notes.append(
        f"split by hash into {', '.join(f'{share:g} {name}' for name, share in zip(NAMES, shares, strict=True))}; "
        "split=[…] sets other shares"
    )
    return by_hash(ids, present, units, shares, earlier, found.classes), scene


def _group(options: Options, name: str) -> str | None:
    match = options.group.search(name) if options.group is not None else None
    return match[1 if match.re.groups else 0] if match else None


def _write_rest(
    options: Options, converted: Converted, classes: Classes, folder: Path, arguments: Sequence[str]
) -> None:
    """Write lists, manifest, `dataset.yaml` and contact sheet."""
    found, rows = converted.found, converted.rows
    write_lists(folder, rows)
    write_manifest(folder, rows)
    made_of = {
        "source": str(options.source),
        "format": found.format,
        "command": shlex.join(["python", "-m", "pipeline.convert", *arguments]),
        "images": len(rows),
    }
    if converted.recipe.intensity is not None:
        made_of["intensity"] = list(converted.recipe.intensity)
    colours = None if found.colours is None else [hexadecimal(colour) for colour in classes.colours]
    write_dataset_file(folder, found.classes, found.background, colours, made_of)
    present = np.array([one.class_pixels for one in converted.done]) > 0
    examples = []
    for place in choose([row.id for row in rows], present):
        row = rows[place]
        image = next((folder / IMAGES / row.id).parent.glob(f"{_escaped(Path(row.id).name)}.*"))
        examples.append((f"{row.id} ({row.split or 'left out'})", image, folder / MASKS / f"{row.id}.png"))
    contact_sheet(examples, classes).save(folder / SHEET)


def _escaped(name: str) -> str:
    return "".join(f"[{c}]" if c in "*?[" else c for c in name)


def _compare(
    options: Options, found: Found, recipe: Recipe, earlier: Sequence[Row], progress: Progress
) -> int:
    """Say what another conversion would change; nothing is written."""
    converted = _convert(options, found, recipe, None, earlier, progress)
    changed = differences(earlier, converted.rows)
    for line in changed or ["nothing would change"]:
        say(line)
    if changed:
        say(f"nothing was written: {options.output} exists; overwrite=true replaces it")
    return 0


def _say_notes(found: Found) -> None:
    """Say what was guessed, once."""
    for note in found.notes:
        say(f"note: {note}")
    found.notes.clear()


def _report(options: Options, converted: Converted) -> None:
    found, done = converted.found, converted.done
    found.notes += image_notes(done, converted.recipe.intensity)
    _say_notes(found)
    say(class_table(found.classes, done, [row.split for row in converted.rows]))
    for warning in found.warnings:
        say(f"warning: {warning}")
    say(summary(found, options.output, converted.rows, done))


if __name__ == "__main__":
    run_tool(main, HELP)


