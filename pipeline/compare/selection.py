"""Which test and validation images the comparison shows, and the confusion matrices that differences come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from pipeline.compare.examples import (
    ComparedImage,
    compare_image,
    complete,
    confusion_matrices,
    read_masks,
    read_truth,
)
from pipeline.compare.predictions import TEST, VAL, epochs, fetch_masks, image_ids, spread
from pipeline.compare.statistics import disagreement, image_ious, iou_gaps
from pipeline.data.fixed_choice import smallest_hashes
from pipeline.data.pixels import PixelRules
from pipeline.data.voc import Example
from pipeline.tracking.stored_run import StoredRun

MOST_SCORED = 500  # test images that differences are computed from
MOST_SHOWN, MOST_OF_CLASS = 24, 2  # test images in the grid; and, for each class, those with its largest gaps
MOST_VAL, MOST_EPOCHS = 8, 24


@dataclass(frozen=True)
class ComparedImages:
    """What the grid shows, and what the differences between runs are computed from."""

    test: list[ComparedImage] = field(default_factory=list)
    val: list[ComparedImage] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    scored_runs: list[int] = field(default_factory=list)  # those with predictions of the test images, as places
    confusion_matrices: np.ndarray | None = None  # (scored runs, images, classes, classes) int64 of the test split
    notes: list[str] = field(default_factory=list)


def collect_images(
    runs: Sequence[StoredRun], examples: Mapping[str, Example], classes: int, rules: PixelRules
) -> ComparedImages:
    """Fetch the predictions of all runs and choose which images are shown.

    Args:
        runs: in the order of their ranking.
        examples: image and mask by image id, as far as the dataset is at hand.
        classes: their number.
        rules: how image files are read.
    """
    notes: list[str] = []
    test, scored_runs, matrices = _test_images(runs, examples, classes, rules, notes)
    val, shown_epochs = _val_images(runs, examples, classes, rules, notes)
    return ComparedImages(test, val, shown_epochs, scored_runs, matrices, notes)


def _test_images(
    runs: Sequence[StoredRun], examples: Mapping[str, Example], classes: int, rules: PixelRules, notes: list[str]
) -> tuple[list[ComparedImage], list[int], np.ndarray | None]:
    """Images, runs with predictions of them, and their confusion matrices, as in `ComparedImages`."""
    scored_runs, common, others = _with_common_images([set(image_ids(stored, TEST)) for stored in runs])
    if not scored_runs:
        notes.append("No run has predictions of test images.")
        return [], [], None
    if others:
        notes.append(
            f"Test images and differences are without {others} of {len(scored_runs) + others} runs: none of their test "
            "images is one that the better runs have in common."
        )
    ids = smallest_hashes(common, MOST_SCORED)
    if len(ids) < len(common):
        notes.append(f"Differences are computed from {len(ids)} of {len(common)} test images.")
    files = [fetch_masks(stored, TEST, ids if run in scored_runs else []) for run, stored in enumerate(runs)]

    matrices, gaps = _score_images(ids, files, examples, scored_runs, classes)
    if len(gaps) < len(ids):
        notes.append(f"{len(ids) - len(gaps)} test images are left out: their masks cannot be read or do not fit.")
    stacked = np.stack(list(matrices.values()), axis=1) if matrices else None  # (runs, images, classes, classes)
    chosen = _choose(gaps, list(matrices), stacked)
    if len(chosen) < len(gaps):
        notes.append(
            f"Of {len(gaps)} test images, the {len(chosen)} with the largest differences between runs are shown."
        )
    # Masks are read again here, so that those of all images are never in memory at once.
    images = [
        compare_image(
            image_id, examples.get(image_id), {0: read_masks(files, image_id)}, classes, gaps[image_id], rules
        )
        for image_id in chosen
    ]
    return images, scored_runs, stacked


def _with_common_images(predicted: Sequence[set[str]]) -> tuple[list[int], set[str], int]:
    """The runs that are scored on the same images, as places; these images; how many runs have none of them.

    A run counts only if it has images in common with all better ones: otherwise one run on another list of images would
    leave none for the others.

    Args:
        predicted: the test images of each run, the best run first; empty for a run without test predictions.
    """
    scored_runs: list[int] = []
    common: set[str] = set()
    others = 0
    for run, ids in enumerate(predicted):
        if ids and not scored_runs:
            scored_runs, common = [run], ids
        elif ids & common:
            scored_runs.append(run)
            common = ids & common
        elif ids:
            others += 1
    return scored_runs, common, others


def _score_images(
    ids: Sequence[str],
    files: Sequence[Mapping[str, Path]],
    examples: Mapping[str, Example],
    scored_runs: Sequence[int],
    classes: int,
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Confusion matrices of the images with a truth, (scored runs, classes, classes) each, and the gaps of all images.

    An image with a mask that cannot be read, or does not fit the others, is missing.
    """
    matrices: dict[str, np.ndarray] = {}
    gaps: dict[str, float] = {}
    for image_id in ids:
        masks = read_masks(files, image_id)
        if not complete(masks, scored_runs, classes):
            continue
        truth = read_truth(examples.get(image_id))
        if truth is None:
            gaps[image_id] = disagreement([mask for mask in masks if mask is not None])
        elif (found := confusion_matrices(truth, masks, classes)) is not None:
            matrices[image_id] = found[scored_runs]
            means, _ = image_ious(matrices[image_id])
            gaps[image_id] = float(iou_gaps(means))
    return matrices, gaps


def _choose(gaps: Mapping[str, float], scored: Sequence[str], matrices: np.ndarray | None) -> list[str]:
    """The images with the largest gaps of the mean IoU, then those with the largest gaps of each class.

    Args:
        gaps: of all images; NaN where there is none.
        scored: the images of `matrices`, which is (runs, images, classes, classes) or None.
    """
    chosen = sorted(gaps, key=lambda image_id: (-np.nan_to_num(gaps[image_id]), image_id))[:MOST_SHOWN]
    if matrices is not None:
        _, per_class = image_ious(matrices)
        for of_class in np.nan_to_num(iou_gaps(per_class)).T:  # (images,)
            largest = np.argsort(-of_class, kind="stable")[:MOST_OF_CLASS]
            chosen += [scored[place] for place in largest if of_class[place] > 0]
    return list(dict.fromkeys(chosen))


def _val_images(
    runs: Sequence[StoredRun], examples: Mapping[str, Example], classes: int, rules: PixelRules, notes: list[str]
) -> tuple[list[ComparedImage], list[int]]:
    """Images and epochs, as in `ComparedImages`: images that any run has at its last epoch, at epochs of any run."""
    epochs_of = [epochs(stored) for stored in runs]
    all_epochs = sorted({epoch for of_run in epochs_of for epoch in of_run})
    shown = spread(all_epochs, MOST_EPOCHS)
    if not shown:
        notes.append("No run has predictions of validation images.")
        return [], []
    if len(shown) < len(all_epochs):
        notes.append(f"Validation images are shown at {len(shown)} of {len(all_epochs)} epochs.")
    last_ids = [
        set(image_ids(stored, f"{VAL}/{of_run[-1]}")) if of_run else set()
        for stored, of_run in zip(runs, epochs_of, strict=True)
    ]
    ids = smallest_hashes(set().union(*last_ids), MOST_VAL)
    files = {
        epoch: [
            fetch_masks(stored, f"{VAL}/{epoch}", ids) if epoch in of_run else {}
            for stored, of_run in zip(runs, epochs_of, strict=True)
        ]
        for epoch in shown
    }
    images = []
    for image_id in ids:
        masks = {epoch: read_masks(files[epoch], image_id) for epoch in shown}
        flat = [mask for of_epoch in masks.values() for mask in of_epoch]
        existing = [place for place, mask in enumerate(flat) if mask is not None]
        if existing and complete(flat, existing, classes):
            gap = disagreement([mask for mask in masks[shown[-1]] if mask is not None])
            images.append(compare_image(image_id, examples.get(image_id), masks, classes, gap, rules))
    if len(images) < len(ids):
        notes.append(f"{len(ids) - len(images)} validation images are left out: their masks cannot be read.")
    return images, shown
