"""From any labelling tool to a folder that can be trained on: `python -m pipeline.convert`."""

from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.config.classes import AUTO, hexadecimal
from pipeline.config.dataset_file import NAME as DATASET_FILE
from pipeline.config.dataset_file import read_dataset_file
from pipeline.convert import ade20k, cityscapes, coco, cvat, labelme, masks, supervisely
from pipeline.convert.contact_sheet import choose, contact_sheet
from pipeline.convert.conversion import Converted, classes_of, convert, present_classes, recipe_for, with_safe_ids
from pipeline.convert.foreign import keep_lists, own_lists
from pipeline.convert.images import ENDINGS, Recipe
from pipeline.convert.options import MOST_CLASSES, Options, parse_options, require_fitting
from pipeline.convert.parallel import Workers
from pipeline.convert.report import class_table, differences, image_notes, say, summary
from pipeline.convert.source import Files, Found
from pipeline.convert.write import (
    SHEET,
    Row,
    clear_abandoned,
    dataset_content,
    finish,
    read_earlier,
    split_as_before,
    splitting,
    unfinished,
    write_dataset_file,
    write_lists,
    write_manifest,
)
from pipeline.data.conversion import flow
from pipeline.data.layout import IMAGES, MASKS
from pipeline.data.recognise import ARCHIVES, recognise
from pipeline.runtime import signals
from pipeline.runtime.cli import run_tool
from pipeline.runtime.console import PreparationDisplay
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import enumerated

HELP = """\
Writes images and masks of a labelling tool, or of a public dataset, as a folder for `python run.py dataset=folder`.

  python -m pipeline.convert source=<folder or file> output=<new folder>

What it guesses it says, with the key that sets it. The output is there whole or not at all; a second call says what
would change.

source=…         folder, or a COCO JSON or CVAT XML file
output=…         new folder: JPEGImages/, SegmentationClass/, ImageSets/Segmentation/, dataset.yaml (classes,
                 background, colours), contact_sheet.png (look at it!), convert.csv (what each example was made of)
overwrite=true   replaces what an earlier call wrote there. Own lists in ImageSets/Segmentation/ are kept; with other
                 files in the folder that no call wrote, nothing is changed
format=…         auto (the default), masks, coco, labelme, cvat, cityscapes, ade20k or supervisely
classes=…        names in the order of their indices, such as '[background,cat,dog]'
background=…     the class that is the background, or null if none is; auto: the one called background. Of outlines it
                 is what none of them covers; with null that is void
split=…          shares of train, val and test, such as '[0.8,0.1,0.1]', in place of the tool's own splits
group=…          regular expression: images whose ids agree in its first group stay in one split: '^([a-z]+)_'
max_side=…       longest side of the written images, in pixels; larger ones are made smaller
intensity=…      '[low,high]' that becomes 0 to 255 in images of more than 8 bits; by default lowest and highest of all

format=masks: masks in files
images=… masks=…   their folders in the source, if the names do not tell
values=…         what values of masks mean: '{0: background, 255: object}'; void: neither learnt nor scored. Of masks
                 with a channel for each class, classes=… names the channels in their order
colours=…        what colours of masks mean: '{"#000000": background, "#800000": cat}'
tolerance=…      for blurred edges: greatest difference of a channel, 0 to 255, at which a pixel is taken for the
                 nearest of them

format=coco, labelme, cvat or supervisely: outlines
labels=…         classes for labels of other names: '{kitten: cat, unclear: void}'
"""
READERS: dict[str, Callable[[Options, Files, Workers], Found]] = {
    "masks": masks.read,
    "coco": coco.read,
    "labelme": labelme.read,
    "cvat": cvat.read,
    "cityscapes": cityscapes.read,
    "ade20k": ade20k.read,
    "supervisely": supervisely.read,
}


def main(arguments: list[str]) -> int:
    """Convert a source; returns the exit status.

    Raises:
        UserError: arguments or source are wrong; nothing was written.
    """
    options = parse_options(arguments)
    _require_apart(options)
    clear_abandoned(options.output)
    earlier = read_earlier(options.output)
    if earlier is not None and options.overwrite:
        own_lists(options.output, earlier)  # refuses before the work of converting
    assigned = earlier if earlier and split_as_before(options) else []  # images that stay in their splits
    with PreparationDisplay() as progress, Workers(progress) as workers:
        found = _read(options, workers)
        _say_notes(found)
        recipe = recipe_for(options, found.items, workers)
        if earlier is not None and not options.overwrite:
            return _compare(options, found, recipe, earlier, assigned, workers)
        with unfinished(options.output) as folder:
            converted = convert(options, found, recipe, folder, assigned, workers)
            _write_rest(options, converted, folder)
            if earlier is not None and (kept := own_lists(options.output, earlier)):
                keep_lists(options.output, kept, folder)
                found.notes.append(f"lists that no conversion wrote are kept: {enumerated(kept)}")
            finish(folder, options.output)
    _report(options, converted)
    return 0


def _require_apart(options: Options) -> None:
    """Refuse an output that is the source, or holds it: the source would be removed with an earlier output.

    An output inside the source is passed over when the source is read.

    Raises:
        UserError: it is one of these, or there is no source.
    """
    source, output = options.source, options.output
    if not source.exists():
        raise UserError(f"source={source}: not found")
    if output.resolve().is_mount():
        raise UserError(
            f"output={output}: is a mount point, which cannot be replaced as a whole; a new folder in it expected, "
            f"such as output={output / 'voc'}"
        )
    if source.resolve() == output.resolve():
        raise UserError(f"output={output}: is the source; the name of a new folder expected")
    if source.resolve().is_relative_to(output.resolve()):
        raise UserError(
            f"source={source}: lies in output={output}, which is replaced as a whole; give another output, or move the "
            "source out of it"
        )


def _read(options: Options, workers: Workers) -> Found:
    """Recognise the source and read it.

    Raises:
        UserError: it cannot be.
    """
    source = options.source
    if source.is_file() and source.suffix.lower() in ARCHIVES:
        raise UserError(f"source={source}: is an archive; unpack it and give its folder")
    form = options.format
    if form == AUTO and (options.images or options.masks or options.values or options.colours):
        form = "masks"  # which alone has these keys
    elif form == AUTO:
        seen = recognise(source)
        if seen is None:
            raise _not_recognised(source)
        form = seen.format
        say(f"note: format={form}: {seen.why}")
    require_fitting(options, form)
    files = Files.below(options.root, options.output)
    try:
        found = READERS[form](options, files, workers)
    except UserError as error:  # which may be for want of files that links lead to
        raise UserError(*error.faults, *files.note_links()) from error
    found.warnings += files.note_links()
    if not found.items:
        raise UserError(f"source={source}: no image with a mask", *found.warnings)
    if len(found.classes) > MOST_CLASSES:
        raise UserError(
            f"source={source}: {len(found.classes)} classes ({enumerated(found.classes, 5)}); at most {MOST_CLASSES} "
            "expected, since a mask has 8 bits and 255 is void; labels=… of outlines, and values=… or colours=… of "
            "masks, can give several one name"
        )
    found.items = with_safe_ids(found)
    return found


def _not_recognised(source: Path) -> UserError:
    names = sorted(entry.name + "/" * entry.is_dir() for entry in source.iterdir()) if source.is_dir() else []
    content = f"has {enumerated(names, 8) or 'nothing'}" if source.is_dir() else "is a file"
    return UserError(
        f"source={source}: not recognised; it {content}. Masks next to images need a word such as masks or _mask in "
        "the names of folders or files, or images=<folder> masks=<folder>; format=… reads masks, coco, labelme, "
        "cvat, cityscapes, ade20k and supervisely"
    )


def _write_rest(options: Options, converted: Converted, folder: Path) -> None:
    """Write lists, manifest, `dataset.yaml` and contact sheet."""
    found, rows, classes = converted.found, converted.rows, classes_of(converted.found)
    write_lists(folder, rows)
    write_manifest(folder, rows)
    made_of = {
        "source": str(options.source),
        "format": found.format,
        "command": options.command_with(),
        "images": len(rows),
        **splitting(options),
    }
    if converted.recipe.intensity is not None:
        made_of["intensity"] = list(converted.recipe.intensity)
    write_dataset_file(folder, dataset_content(found.classes, found.background, _written_colours(found)), made_of)
    examples = []
    for place in choose([row.id for row in rows], present_classes(converted.done)):
        row = rows[place]
        names = (folder / IMAGES / f"{row.id}{ending}" for ending in ENDINGS)
        image = next(path for path in names if path.exists())
        examples.append((f"{row.id} ({row.split or 'left out'})", image, folder / MASKS / f"{row.id}.png"))
    contact_sheet(examples, classes).save(folder / SHEET)


def _compare(
    options: Options,
    found: Found,
    recipe: Recipe,
    earlier: Sequence[Row],
    assigned: Sequence[Row],
    workers: Workers,
) -> int:
    """Say what another conversion would change; nothing is written."""
    converted = convert(options, found, recipe, None, assigned, workers)
    changed = [*differences(earlier, converted.rows), *_other_classes(options, found)]
    for line in changed or ["nothing would change"]:
        say(line)
    if changed:
        say(f"nothing was written: {options.output} exists; overwrite=true replaces it")
    return 0


def _other_classes(options: Options, found: Found) -> list[str]:
    """How the classes of an earlier `dataset.yaml` would change, one line for each of its keys."""
    try:
        before = read_dataset_file(options.output / DATASET_FILE)
    except UserError as error:
        return list(error.faults)
    now = dataset_content(found.classes, found.background, _written_colours(found))
    return [
        f"other {key}: {_shown(before.get(key))} to {_shown(now.get(key))}"
        for key in ("classes", "background", "colours")
        if before.get(key) != now.get(key)
    ]


def _shown(value: list[str] | str | None) -> str:
    return flow(value) if isinstance(value, list) else "null" if value is None else value


def _written_colours(found: Found) -> list[str] | None:
    classes = classes_of(found)
    return None if found.colours is None else [hexadecimal(colour) for colour in classes.colours]


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
    signals.install()
    run_tool(main, HELP)
