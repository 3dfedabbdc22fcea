"""The files that an evaluation writes (predicted masks, overlays, tables, the confusion matrix), and its table."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from pipeline.data.decode import decode_example
from pipeline.data.fixed_choice import smallest_hashes
from pipeline.data.image_files import read_index_mask
from pipeline.data.voc import Example
from pipeline.evaluate.confusion_plot import confusion_image
from pipeline.evaluate.evaluator import OnPrediction
from pipeline.evaluate.metrics import Scores, accuracy_per_class, iou_per_class
from pipeline.evaluate.overlay import to_palette_png, write_png
from pipeline.evaluate.overlay_sheet import overlay_sheet
from pipeline.runtime.text import enumerated


def fixed_choice(examples: Sequence[Example], count: int) -> list[Example]:
    """The examples with the smallest SHA-256 of their ids: the same images in every run on a dataset."""
    by_id = {example.id: example for example in examples}
    return [by_id[example_id] for example_id in smallest_hashes(by_id, count)]


def prediction_writer(folder: Path, only: Sequence[Example] | None = None) -> OnPrediction:
    """A callback that writes each prediction as <folder>/<id>.png, an index mask with VOC's palette.

    Args:
        only: the examples whose predictions are written; None: all.
    """
    chosen = None if only is None else {example.id for example in only}

    def write(example: Example, prediction: np.ndarray) -> None:
        if chosen is None or example.id in chosen:
            write_png(folder / f"{example.id}.png", to_palette_png(prediction))

    return write


def write_overlays(
    folder: Path,
    predictions: Path,
    examples: Sequence[Example],
    classes: list[str],
    scores: Scores,
    count: int,
    split: str,
) -> None:
    """Write the overlays of three groups of examples to <folder>/<split>/ (a fixed choice), best/ and worst/.

    Args:
        folder: created even if `count` is 0.
        predictions: the folder where `prediction_writer` wrote the prediction of every example.
        count: examples in each group.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ranked = sorted(
        (example for example in examples if example.id in scores.image_iou),
        key=lambda example: -scores.image_iou[example.id],
    )
    groups = {split: fixed_choice(examples, count), "best": ranked[:count], "worst": ranked[::-1][:count]}
    for group, members in groups.items():
        for example in members:
            prediction = read_index_mask(predictions / f"{example.id}.png")
            iou = scores.image_iou.get(example.id)
            heading = f"{example.id} - " + (f"mean IoU {iou:.3f}" if iou is not None else "no valid pixels")
            sheet = overlay_sheet(decode_example(example), read_index_mask(example.mask), prediction, classes, heading)
            write_png(folder / group / f"{example.id}.png", sheet)


def write_scores(folder: Path, classes: list[str], scores: Scores) -> None:
    """Write per_class.csv, confusion_matrix.csv and confusion_matrix.png; missing scores are empty cells."""
    folder.mkdir(parents=True, exist_ok=True)
    matrix = scores.confusion_matrix
    true, predicted, both = matrix.sum(axis=1), matrix.sum(axis=0), np.diag(matrix)
    rows = zip(classes, iou_per_class(matrix), accuracy_per_class(matrix), true, predicted, both, strict=True)
    with (folder / "per_class.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["class", "iou", "accuracy", "true_pixels", "predicted_pixels", "correct_pixels"])
        for name, iou, accuracy, *counts in rows:
            table.writerow([name, *("" if np.isnan(value) else float(value) for value in (iou, accuracy)), *counts])
    with (folder / "confusion_matrix.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["truth \\ prediction", *classes])
        table.writerows([name, *row] for name, row in zip(classes, matrix.tolist(), strict=True))
    write_png(folder / "confusion_matrix.png", confusion_image(matrix, classes))


def score_table(classes: list[str], scores: dict[str, Scores]) -> Table:
    """A row for each class and for the totals; a column of IoUs for each split, and one of accuracies for the last.

    Args:
        classes: names in index order.
        scores: of each split.
    """
    table = Table(title="scores", title_justify="left", min_width=48)
    table.add_column("class")
    for split in scores:
        table.add_column(f"{split} IoU", justify="right")
    last = list(scores)[-1]
    table.add_column(f"{last} accuracy", justify="right")
    ious = {split: iou_per_class(found.confusion_matrix) for split, found in scores.items()}
    accuracy = accuracy_per_class(scores[last].confusion_matrix)
    for index, name in enumerate(classes):
        values = [*(ious[split][index] for split in scores), accuracy[index]]
        table.add_row(name, *map(_cell, values))
    table.add_section()
    totals = [_cell(found.mean_iou) for found in scores.values()]
    table.add_row("mean", *totals, f"{_cell(scores[last].pixel_accuracy)} (pixels)")
    table.add_row("loss", *(_cell(found.loss) for found in scores.values()), "")
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
