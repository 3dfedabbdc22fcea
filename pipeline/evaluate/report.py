"""The files that an evaluation writes (predicted masks, overlays, tables, the confusion matrix), and its table."""

import csv
import math
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from rich.table import Table

from pipeline.data.classes import Classes
from pipeline.data.decode import decode_example
from pipeline.data.fixed_choice import smallest_hashes
from pipeline.data.image_files import read_index_mask
from pipeline.data.voc import Example
from pipeline.evaluate.confusion_plot import confusion_image
from pipeline.evaluate.evaluator import OnPrediction
from pipeline.evaluate.metrics import (
    Scores,
    accuracy_per_class,
    dice_per_class,
    iou_per_class,
    precision_per_class,
    recall_per_class,
)
from pipeline.evaluate.overlay import to_palette_png, write_png
from pipeline.evaluate.overlay_sheet import overlay_sheet
from pipeline.runtime.limits import processors
from pipeline.runtime.text import enumerated


def fixed_choice(examples: Sequence[Example], count: int) -> list[Example]:
    """The examples with the smallest SHA-256 of their ids: the same images in every run on a dataset."""
    by_id = {example.id: example for example in examples}
    return [by_id[example_id] for example_id in smallest_hashes(by_id, count)]


def prediction_writer(folder: Path, palette: np.ndarray, only: Sequence[Example] | None = None) -> OnPrediction:
    """A callback that writes each prediction as <folder>/<id>.png, an index mask with a palette.

    Args:
        palette: (256, 3) uint8 RGB.
        only: the examples whose predictions are written; None: all.
    """
    chosen = None if only is None else {example.id for example in only}

    def write(example: Example, prediction: np.ndarray) -> None:
        if chosen is None or example.id in chosen:
            write_png(folder / f"{example.id}.png", to_palette_png(prediction, palette))

    return write


def write_overlays(
    folder: Path,
    predictions: Path,
    examples: Sequence[Example],
    classes: Classes,
    scores: Scores,
    count: int,
    split: str,
) -> None:
    """Write the overlays of three groups of examples to <folder>/<split>/ (a fixed choice), best/ and worst/.

    PNGs that an earlier evaluation left in these three are removed: they would look like results of this one.

    Args:
        folder: created even if `count` is 0.
        predictions: the folder where `prediction_writer` wrote the prediction of every example.
        count: examples in each group.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ious = scores.image_iou
    ranked = sorted((example for example in examples if example.id in ious), key=lambda example: -ious[example.id])
    groups = {split: fixed_choice(examples, count), "best": ranked[:count], "worst": ranked[::-1][:count]}
    places: dict[str, list[Path]] = {}  # by id: an example may be in several groups
    for group, members in groups.items():
        for example in members:
            places.setdefault(example.id, []).append(folder / group / f"{example.id}.png")
    # Before anything is written: on a disk where `A.png` is `a.png`, an old name would be that of a new file.
    written = {path for paths in places.values() for path in paths}
    for file in {file for group in groups for file in (folder / group).rglob("*.png")} - written:
        if file.is_file():  # an id may have a folder of such a name
            file.unlink()

    def write(example: Example) -> None:
        prediction = read_index_mask(predictions / f"{example.id}.png")
        iou = ious.get(example.id)
        heading = f"{example.id} - " + (f"mean IoU {iou:.3f}" if iou is not None else "no valid pixels")
        sheet = overlay_sheet(decode_example(example), read_index_mask(example.mask), prediction, classes, heading)
        first, *others = places[example.id]
        write_png(first, sheet)
        for other in others:
            other.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(first, other)

    with ThreadPoolExecutor(processors(), "overlays") as threads:
        list(threads.map(write, (example for example in examples if example.id in places)))


def write_scores(folder: Path, classes: list[str], scores: Scores) -> None:
    """Write per_class.csv, confusion_matrix.csv and confusion_matrix.png; missing scores are empty cells."""
    folder.mkdir(parents=True, exist_ok=True)
    matrix = scores.confusion_matrix
    columns = {
        "iou": iou_per_class(matrix),
        "accuracy": accuracy_per_class(matrix),
        "true_pixels": matrix.sum(axis=1),
        "predicted_pixels": matrix.sum(axis=0),
        "correct_pixels": np.diagonal(matrix),
        "dice": dice_per_class(matrix),
        "precision": precision_per_class(matrix),
        "recall": recall_per_class(matrix),
        "boundary_iou": scores.boundary_iou_per_class,
    }
    with (folder / "per_class.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["class", *columns])
        for name, *cells in zip(classes, *(column.tolist() for column in columns.values()), strict=True):
            table.writerow([name, *("" if math.isnan(cell) else cell for cell in cells)])
    with (folder / "confusion_matrix.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["truth \\ prediction", *classes])
        table.writerows([name, *row] for name, row in zip(classes, matrix.tolist(), strict=True))
    write_png(folder / "confusion_matrix.png", confusion_image(matrix, classes))


def score_table(classes: list[str], scores: dict[str, Scores]) -> Table:
    """A row for each class: its IoU on each split, its precision and recall on the last; and rows for the totals.

    Args:
        classes: names in index order.
        scores: of each split.
    """
    table = Table(title="scores", title_justify="left", min_width=48)
    table.add_column("class")
    last = list(scores)[-1]
    for heading in (*(f"{split} IoU" for split in scores), f"{last} precision", f"{last} recall"):
        table.add_column(heading, justify="right")
    every, matrix = list(scores.values()), scores[last].confusion_matrix
    ious = [iou_per_class(found.confusion_matrix) for found in every]
    for name, *values in zip(classes, *ious, precision_per_class(matrix), recall_per_class(matrix), strict=True):
        table.add_row(name, *map(_cell, values))
    table.add_section()
    means = [*(found.mean_iou for found in every), scores[last].mean_precision, scores[last].mean_recall]
    table.add_row("mean", *map(_cell, means))
    low, high = scores[last].mean_iou_interval
    if not math.isnan(low):
        table.add_row("mean IoU, 95 %", *[""] * (len(every) - 1), f"{low:.3f}-{high:.3f}")
    table.add_section()
    totals = {
        "mean Dice": [found.mean_dice for found in every],
        "boundary IoU": [found.boundary_iou for found in every],
        "weighted IoU": [found.frequency_weighted_iou for found in every],
        "pixel accuracy": [found.pixel_accuracy for found in every],
        "loss": [found.loss for found in every],
    }
    for name, values in totals.items():
        if not np.isnan(values).all():
            table.add_row(name, *map(_cell, values))
    return table


def absent_class_notes(classes: list[str], scores: dict[str, Scores]) -> list[str]:
    """A sentence for each split whose truth lacks classes: its mean is over other classes than that of another split.

    Args:
        classes: names in index order.
        scores: of each split.
    """
    notes = []
    for split, found in scores.items():
        if (absent := found.absent).size == 0:
            continue
        ious = iou_per_class(found.confusion_matrix)
        predicted = [classes[index] for index in absent if not np.isnan(ious[index])]
        note = (
            f"no {split} mask contains: {enumerated((classes[index] for index in absent), 10)}; "
            f"the {split} mean is over {np.count_nonzero(~np.isnan(ious))} of {len(classes)} classes"
        )
        notes.append(note + (f", with IoU 0 for {enumerated(predicted, 10)}, predicted falsely" if predicted else ""))
    return notes


def _cell(score: float) -> str:
    """A score of the table. A class that is not in the split has none; "nan" would look like an error."""
    return "-" if np.isnan(score) else f"{score:.4f}"
