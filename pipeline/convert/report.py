"""What a conversion says: what it took, the classes, warnings, and what to type next."""

import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipeline.convert.source import Found
from pipeline.convert.splits import NAMES
from pipeline.convert.work import AS_STORED, Done
from pipeline.convert.write import SHEET, Row
from pipeline.runtime.console import plain_table
from pipeline.runtime.text import enumerated, plain

FEW_IMAGES = 10  # of a class: fewer are a warning


def say(text: str) -> None:
    """Print a line, control characters in names escaped."""
    print("\n".join(plain(line) for line in text.split("\n")))


def class_table(classes: Sequence[str], done: Sequence[Done], splits: Sequence[str]) -> str:
    """Images, pixels and share of each class, and its images in each split."""
    pixels = np.array([one.class_pixels for one in done])  # (images, classes)
    void = sum(one.void_pixels for one in done)
    total = int(pixels.sum()) + void
    of_split = {name: np.array([split == name for split in splits]) for name in NAMES}
    shown = [name for name in NAMES if of_split[name].any()]
    rows = []
    for index, name in enumerate(classes):
        has = pixels[:, index] > 0
        count = int(pixels[:, index].sum())
        rows.append(
            [str(index), name, f"{has.sum()}", f"{count}", f"{count / total:.2%}"]
            + [f"{(has & of_split[split]).sum()}" for split in shown]
        )
    if void:
        rows.append(["255", "void", f"{sum(one.void_pixels > 0 for one in done)}", f"{void}", f"{void / total:.2%}"]
                    + ["" for _ in shown])  # fmt: skip
    every = ["", "all images", str(len(done)), str(total), ""] + [f"{of_split[split].sum()}" for split in shown]
    headings = ["index", "class", "images", "pixels", "share", *(f"in {split}" for split in shown)]
    return plain_table(headings, [*rows, every], right={"index", *headings[2:]})


def image_notes(done: Sequence[Done], intensity: tuple[float, float] | None) -> list[str]:
    """What was done to images, with counts."""
    changes = Counter(change for one in done for change in one.changes)
    untouched = sum(not one.changes for one in done)
    notes = [f"{untouched} of {len(done)} images keep their bytes"] if changes else []
    for change, count in sorted(changes.items()):
        if change == "scaled to 8 bits" and intensity is not None:
            low, high = (f"{value:g}" for value in intensity)
            notes.append(
                f"{count} images: values from {low} to {high} became 0 to 255; intensity=[low,high] sets another "
                f"range, and images to predict need the same one: dataset.intensity=[{low},{high}]"
            )
        else:
            notes.append(f"{count} images: {change}")
    frames = Counter(one.frame for one in done if one.frame)
    if frames:
        stored = frames[AS_STORED]
        notes.append(
            f"masks of images with an EXIF orientation: {sum(frames.values()) - stored} taken as drawn on the "
            f"displayed image, {stored} turned with it since they have the size of the stored pixels"
        )
    return notes


def warnings(classes: Sequence[str], done: Sequence[Done], splits: Sequence[str], scene: int) -> list[str]:
    """What a person should know before training.

    Args:
        scene: images of the largest set of near copies that is spread over splits; 0: none.
    """
    found = []
    present = np.array([one.class_pixels for one in done]) > 0  # (images, classes)
    images = present.sum(axis=0)
    absent = [name for name, count in zip(classes, images, strict=True) if not count]
    if absent:
        found.append(f"no mask contains: {enumerated(absent, 10)}")
    few = [f"{name} ({count})" for name, count in zip(classes, images, strict=True) if 0 < count < FEW_IMAGES]
    if few:
        found.append(f"classes in fewer than {FEW_IMAGES} images: {enumerated(few, 10)}")
    for split in NAMES:
        within = np.array([name == split for name in splits])
        if within.any():
            lacking = [
                name
                for name, count, there in zip(classes, images, present[within].any(axis=0), strict=True)
                if count and not there
            ]
            if lacking:
                found.append(f"never in {split}: {enumerated(lacking, 10)}")
    blank = sum(not row.any() for row in present)
    if blank:
        found.append(f"{blank} masks are void throughout: their images are neither learnt nor scored")
    if scene:
        found.append(
            f"{scene} images look alike, too many to be kept in one split: if they are of one video or camera, scores "
            "will be too high; group='<pattern>' keeps images together whose names agree in its first group"
        )
    return found + size_warnings(done)


def size_warnings(done: Sequence[Done]) -> list[str]:
    """A warning if images differ much in size."""
    sides = sorted((max(one.size), one.size) for one in done)
    (least, small), (most, large) = sides[0], sides[-1]
    if most < 3 * least:
        return []
    return [
        f"images are {small[0]}x{small[1]} to {large[0]}x{large[1]}; long_side=… of run.py brings them to one scale"
    ]


def next_command(output: Path, rows: Sequence[Row]) -> str:
    """The command that trains on the output."""
    from pipeline.config.quoting import quoted  # which imports Hydra

    there = {row.split for row in rows}
    words = ["python", "run.py", "dataset=folder", f"dataset.root={quoted(str(output))}"]
    if {"val", "test"} <= there:
        words += ["dataset.splits.val=val", "dataset.splits.test=test"]
    elif "test" in there:
        words += ["dataset.splits.test=test"]
    elif "val" not in there:
        words += ["dataset.splits.test=null"]
    return shlex.join(words)


def summary(found: Found, output: Path, rows: Sequence[Row], done: Sequence[Done]) -> str:
    """The end of a conversion that was written."""
    counts = Counter(row.split for row in rows if row.split)
    words = ", ".join(f"{counts[split]} {split}" for split in NAMES if counts[split])
    lines = [
        f"{output}: {len(done)} images ({words}), {len(found.classes)} classes, "
        + (f"background: {found.background}" if found.background is not None else "no background"),
        f"look at {output / SHEET} before you train; then type:",
        f"  {next_command(output, rows)}",
        "  (random weights, for a quick look; experiment=few_images instead of dataset=folder: a pretrained encoder)",
    ]
    if counts["val"] and not counts["test"]:
        lines.append(
            "  (val is scored once, at the end, and a tenth of train chooses the best epoch, as with PASCAL VOC)"
        )
    return "\n".join(lines)


def differences(earlier: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """What differs from an earlier conversion, one line each; empty if nothing does."""
    before, now = {row.id: row for row in earlier}, {row.id: row for row in rows}
    both = [name for name in now if name in before]
    kinds = {
        "new": [name for name in now if name not in before],
        "gone": [name for name in before if name not in now],
        "other image": [name for name in both if now[name].image_hash != before[name].image_hash],
        "other mask": [name for name in both if now[name].mask_hash != before[name].mask_hash],
        "other split": [
            f"{name} ({before[name].split or 'none'} to {now[name].split or 'none'})"
            for name in both
            if now[name].split != before[name].split
        ],
    }
    return [f"{len(names)} {kind}: {enumerated(names)}" for kind, names in kinds.items() if names]
