"""format=masks: masks in image files, next to their images in any arrangement."""

from collections.abc import Sequence
from dataclasses import replace

from pipeline.convert.legends import find_legend
from pipeline.convert.lists import with_lists
from pipeline.convert.mask_files import MaskFile, MaskParts
from pipeline.convert.mask_parts import Pair
from pipeline.convert.mask_scan import scan_masks
from pipeline.convert.mask_values import is_background, meaning
from pipeline.convert.options import Options
from pipeline.convert.pairs import Pairing, pair_files
from pipeline.convert.parallel import Workers
from pipeline.convert.source import IMAGE_ENDINGS, Files, Found, Item, left_out
from pipeline.convert.unknown_values import BACKGROUND, OBJECT
from pipeline.data.paired_folders import folders_of_images_and_masks
from pipeline.data.palette import VOID
from pipeline.runtime.errors import UserError


def read(options: Options, files: Files, workers: Workers) -> Found:
    """Read a folder of images and masks.

    Raises:
        UserError: masks have no images, cannot be read, or hold values or colours of no class.
    """
    pairing = pair_files(files.paths, options.images, options.masks)
    if not pairing.pairs and options.images is None and options.masks is None:
        pairing = _by_values(files) or pairing
    if not pairing.pairs:
        raise _without_pairs(options, files, len(pairing.images), len(pairing.masks))
    pairs = pairing.pairs
    names = [mask for pair in pairs for mask in pair.masks]
    lossy = [name for name in names if name.lower().endswith((".jpg", ".jpeg"))]
    if lossy and options.tolerance is None:
        raise UserError(
            f"{files.root / lossy[0]}: a JPEG as mask ({len(lossy)} of {len(names)} masks): JPEG changes values at "
            "edges; export the masks again as PNG, or add tolerance=128, which takes each pixel for the nearest of "
            "values=… or colours=…"
        )
    if pairing.unsure:
        _decide_by_values(pairing.unsure, files, workers)
    in_parts = any(label is not None for pair in pairs for label in pair.labels)
    found = _of_parts(options, files, pairs) if in_parts else _of_files(options, files, pairs, workers)
    if pairing.rule and options.masks is None:
        found.notes.insert(0, f"{pairing.rule}; images=<folder> masks=<folder> sets others")
    found.warnings += left_out("images without a mask", pairing.images)
    found.warnings += left_out("masks without an image", pairing.masks)
    with_lists(found, files, options)
    return found


def _by_values(files: Files) -> Pairing | None:
    """The files of two folders of which one has masks by their values, whatever they are called."""
    images, masks = folders_of_images_and_masks(files.root, files.ending(*IMAGE_ENDINGS)) or (None, None)
    if images is None:
        return None
    return replace(pair_files(files.paths, images, masks), rule=f"images: {images}/; masks: {masks}/, by their values")


def _decide_by_values(pairs: Sequence[Pair], files: Files, workers: Workers) -> None:
    """Take folders for no classes if the masks in them hold more than a background and another value."""
    scan = scan_masks(files.root, [mask for pair in pairs for mask in pair.masks], workers)
    if len(scan.of(not scan.is_grey)[0]) > 2:
        for pair in pairs:
            pair.labels = [None]


def _without_pairs(options: Options, files: Files, images: int, masks: int) -> UserError:
    held = f"{len(files.paths)} files, of which {images} may be images and {masks} masks"
    if options.images or options.masks:
        faults = [
            f"{key}={folder}: no folder of source={files.root} with files in it"
            for key, folder in (("images", options.images), ("masks", options.masks))
            if folder not in (None, ".") and not any(path.startswith(f"{folder}/") for path in files.paths)
        ]
        if faults:
            return UserError(*faults)
        given = f"images={options.images or ''} masks={options.masks or ''}"
        return UserError(f"{given}: no mask has the name of an image; source={files.root} has {held}")
    return UserError(
        f"source={files.root}: no mask was found for any image ({held}); say in which folders of the source they lie: "
        "images=<folder> masks=<folder>. A mask is called as its image, with a word such as _mask or without"
    )


def _of_files(options: Options, files: Files, pairs: Sequence[Pair], workers: Workers) -> Found:
    """Masks of one file each."""
    names = [pair.masks[0] for pair in pairs]
    legend = None if options.values or options.colours else find_legend(files)
    meant = meaning(scan_masks(files.root, names, workers), options, legend)
    items = [
        Item(pair.id, pair.image, MaskFile(files.root, name, meant.table), name, pair.split)
        for pair, name in zip(pairs, names, strict=True)
    ]
    return Found("masks", items, meant.classes, _background(options, meant.classes), meant.colours, meant.notes)


def _of_parts(options: Options, files: Files, pairs: Sequence[Pair]) -> Found:
    """Masks of several files each: one for each class, or for each object."""
    named = [name for name in options.classes if not is_background(name)]
    thing = named[0] if len(named) == 1 else OBJECT  # what an object is called, of which only files tell
    pairs = [
        replace(pair, labels=[thing if label in (None, OBJECT) else label for label in pair.labels]) for pair in pairs
    ]
    labels = sorted({str(label) for pair in pairs for label in pair.labels})
    found = [label for label in labels if not is_background(label)]
    classes = list(options.classes) or [BACKGROUND, *found]
    if missing := [label for label in labels if label not in classes and not is_background(label)]:
        raise UserError(f"classes: does not have {', '.join(missing)}, which are folders of masks; add them")
    background = _background(options, classes)
    outside = VOID if background is None else classes.index(background)
    items = [
        Item(
            pair.id,
            pair.image,
            MaskParts(
                tuple(files.root / mask for mask in pair.masks),
                tuple(outside if is_background(str(label)) else classes.index(str(label)) for label in pair.labels),
                outside,
                options.tolerance,
            ),
            pair.masks[0],
            pair.split,
        )
        for pair in pairs
    ]
    note = f"each mask is of one class or object: {', '.join(labels)}; where they overlap, the last by name is on top"
    return Found("masks", items, classes, background, None, [note])


def _background(options: Options, classes: Sequence[str]) -> str | None:
    """The class that is the background.

    Raises:
        UserError: background= names none of them.
    """
    if options.background is None or options.background in classes:
        return options.background
    if options.background != "auto":
        raise UserError(f"background={options.background}: one of {', '.join(classes)}, or null, expected")
    return next((name for name in classes if is_background(name)), None)
