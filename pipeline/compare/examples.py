"""The images of the comparison's grid: which ones, with photograph, truth, every run's prediction, and IoUs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from pipeline.compare.predictions import (
    TEST,
    VAL,
    epochs,
    fetch_masks,
    fixed_choice,
    image_ids,
    read_index_mask,
    spread,
)
from pipeline.compare.statistics import disagreement, image_ious, iou_gaps
from pipeline.data.image_files import UNDECODABLE, open_whole
from pipeline.data.voc import Example
from pipeline.evaluate.metrics import image_confusion_matrix
from pipeline.tracking.stored_run import StoredRun

MOST_SCORED = 500  # test images that differences are computed from
MOST_SHOWN, MOST_OF_CLASS = 24, 2  # test images in the grid; and, for each class, those with its largest gaps
MOST_VAL, MOST_EPOCHS = 8, 24
LONGEST_PHOTOGRAPH = 1024  # pixels; masks keep every pixel, photographs behind them need not


@dataclass(frozen=True)
class ComparedImage:
    """One row of the grid.

    `masks` and `ious` are by epoch, 0 for the test split; a run without a prediction has None.
    """

    id: str
    size: tuple[int, int]  # height, width
    photograph: Image.Image | None
    truth: np.ndarray | None  # (height, width) uint8
    masks: Mapping[int, Sequence[np.ndarray | None]]
    ious: Mapping[int, np.ndarray]  # (runs, 1 + classes): mean, then each class; NaN where there is none
    gap: float  # largest difference of the mean IoU, or, without a truth, of the masks, at the last epoch


@dataclass(frozen=True)
class ComparedImages:
    """What the grid shows, and what the differences between runs are computed from."""

    test: list[ComparedImage] = field(default_factory=list)
    val: list[ComparedImage] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    scored: np.ndarray | None = None  # (runs, images, classes, classes) int64 of the test split
    scored_runs: list[int] = field(default_factory=list)  # which of the runs these are
    notes: list[str] = field(default_factory=list)


def collect_images(runs: Sequence[StoredRun], examples: Mapping[str, Example], classes: int) -> ComparedImages:
    """Fetch the predictions of all runs and choose what is shown.

    Args:
        examples: photograph and truth of each image by its id, as far as the dataset is there.
    """
    notes: list[str] = []
    test, scored, scored_runs = _test_images(runs, examples, classes, notes)
    val, shown_epochs = _val_images(runs, examples, classes, notes)
    return ComparedImages(test, val, shown_epochs, scored, scored_runs, notes)


def _test_images(
    runs: Sequence[StoredRun], examples: Mapping[str, Example], classes: int, notes: list[str]
) -> tuple[list[ComparedImage], np.ndarray | None, list[int]]:
    found = [set(image_ids(stored, TEST)) for stored in runs]
    having = [place for place, ids in enumerate(found) if ids]
    if not having:
        notes.append("No run has predictions of test images.")
        return [], None, []
    common = set.intersection(*(found[place] for place in having))
    ids = fixed_choice(common, MOST_SCORED)
    if len(ids) < len(common):
        notes.append(f"Differences are computed from {len(ids)} of {len(common)} test images.")
    files = [fetch_masks(stored, TEST, ids if place in having else []) for place, stored in enumerate(runs)]

    kept, counts, gaps = [], [], []
    for id in ids:
        truth = _truth(examples.get(id))
        masks = _masks(files, id)
        confusion = _confusion(truth, masks, classes)
        if _fits(masks, having, classes) and (truth is None or confusion is not None):
            kept.append(id)
            counts.append(confusion)
            gaps.append(disagreement([mask for mask in masks if mask is not None]) if confusion is None else np.nan)
    if len(kept) < len(ids):
        notes.append(f"{len(ids) - len(kept)} test images are left out: their masks cannot be read or do not fit.")
    with_truth = [place for place, confusion in enumerate(counts) if confusion is not None]
    scored = None
    if with_truth:
        matrices = [matrix for matrix in (counts[place] for place in with_truth) if matrix is not None]
        scored = np.stack(matrices, axis=1)[having]  # (runs, images, classes, classes)
        means, of_class = image_ious(scored)
        for place, gap in zip(with_truth, iou_gaps(means), strict=True):
            gaps[place] = gap
    order = sorted(range(len(kept)), key=lambda place: (-np.nan_to_num(gaps[place]), kept[place]))
    chosen = order[:MOST_SHOWN]
    if scored is not None:
        class_gaps = np.nan_to_num(iou_gaps(of_class))  # (images, classes)
        for index in range(classes):
            largest = np.argsort(-class_gaps[:, index], kind="stable")[:MOST_OF_CLASS]
            chosen += [with_truth[place] for place in largest if class_gaps[place, index] > 0]
    chosen = list(dict.fromkeys(chosen))
    if len(chosen) < len(kept):
        notes.append(
            f"Of {len(kept)} test images, the {len(chosen)} with the largest differences between runs are shown."
        )
    images = [
        _compared_image(kept[place], examples, {0: _masks(files, kept[place])}, classes, gaps[place])
        for place in chosen
    ]
    return images, scored, having


def _val_images(
    runs: Sequence[StoredRun], examples: Mapping[str, Example], classes: int, notes: list[str]
) -> tuple[list[ComparedImage], list[int]]:
    of_run = [epochs(stored) for stored in runs]
    every = sorted({epoch for found in of_run for epoch in found})
    shown = spread(every, MOST_EPOCHS)
    if not shown:
        notes.append("No run has predictions of validation images.")
        return [], []
    if len(shown) < len(every):
        notes.append(f"Validation images are shown at {len(shown)} of {len(every)} epochs.")
    last = [
        set(image_ids(stored, f"{VAL}/{found[-1]}")) if found else set()
        for stored, found in zip(runs, of_run, strict=True)
    ]
    ids = fixed_choice(set().union(*last), MOST_VAL)
    files = {
        epoch: [
            fetch_masks(stored, f"{VAL}/{epoch}", ids) if epoch in found else {}
            for stored, found in zip(runs, of_run, strict=True)
        ]
        for epoch in shown
    }
    images = []
    for id in ids:
        masks = {epoch: _masks(files[epoch], id) for epoch in shown}
        everything = [mask for found in masks.values() for mask in found]
        there = [place for place, mask in enumerate(everything) if mask is not None]
        if _fits(everything, there, classes) and there:
            latest = [mask for mask in masks[shown[-1]] if mask is not None]
            images.append(_compared_image(id, examples, masks, classes, disagreement(latest)))
    if len(images) < len(ids):
        notes.append(f"{len(ids) - len(images)} validation images are left out: their masks cannot be read.")
    return images, shown


def _compared_image(
    id: str,
    examples: Mapping[str, Example],
    masks: Mapping[int, list[np.ndarray | None]],
    classes: int,
    gap: float,
) -> ComparedImage:
    height, width = next(mask.shape for found in masks.values() for mask in found if mask is not None)
    example = examples.get(id)
    truth, photograph = _truth(example), _photograph(example, (height, width))
    if truth is not None and truth.shape != (height, width):
        truth = None
    ious = {epoch: _ious(truth, found, classes) for epoch, found in masks.items()}
    return ComparedImage(id, (height, width), photograph, truth, masks, ious, float(np.nan_to_num(gap)))


def _ious(truth: np.ndarray | None, masks: Sequence[np.ndarray | None], classes: int) -> np.ndarray:
    """(runs, 1 + classes) float64."""
    found = np.full((len(masks), 1 + classes), np.nan)
    for place, mask in enumerate(masks):
        if mask is not None and truth is not None:
            try:
                mean, of_class = image_ious(image_confusion_matrix(truth, mask, classes))
            except ValueError:  # a mask with indices that have no class
                continue
            found[place, 0], found[place, 1:] = mean, of_class
    return found


def _masks(files: Sequence[Mapping[str, Path]], id: str) -> list[np.ndarray | None]:
    return [read_index_mask(found[id]) if id in found else None for found in files]


def _fits(masks: Sequence[np.ndarray | None], having: Sequence[int], classes: int) -> bool:
    """Whether all masks that are expected are there, of one size, with indices of classes only."""
    there = [mask for mask in (masks[place] for place in having) if mask is not None]
    return (
        len(there) == len(having) and len({mask.shape for mask in there}) <= 1 and all(m.max() < classes for m in there)
    )


def _confusion(truth: np.ndarray | None, masks: Sequence[np.ndarray | None], classes: int) -> np.ndarray | None:
    """(runs, classes, classes) int64, zeros for a run without a mask; None where there is no truth that fits."""
    if truth is None:
        return None
    empty = np.zeros((classes, classes), np.int64)
    try:
        return np.stack([empty if mask is None else image_confusion_matrix(truth, mask, classes) for mask in masks])
    except ValueError:
        return None


def _truth(example: Example | None) -> np.ndarray | None:
    return None if example is None else read_index_mask(example.mask)


def _photograph(example: Example | None, size: tuple[int, int]) -> Image.Image | None:
    """The photograph in its file's own pixel frame, RGB, scaled down where it is very large."""
    if example is None:
        return None
    try:
        with open_whole(example.image) as opened:
            if (opened.height, opened.width) != size:
                return None
            photograph = opened.convert("RGB")
    except UNDECODABLE:
        return None
    photograph.thumbnail((LONGEST_PHOTOGRAPH, LONGEST_PHOTOGRAPH), Image.Resampling.LANCZOS)
    return photograph
