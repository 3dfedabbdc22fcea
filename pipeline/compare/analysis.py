"""What a comparison finds out about a group of runs: ranking, means, importances, differences, images."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.compare.importance import importances
from pipeline.compare.runs import CURVE, RUN_COLOURS, ComparedRun, read_class_scores, read_run
from pipeline.compare.selection import ComparedImages, collect_images
from pipeline.compare.statistics import bootstrap_differences
from pipeline.compare.table import FOLD, Replicates, best_of, headings, ranked, replicates, varying
from pipeline.config.schema import Config
from pipeline.config.schema_dataset import DatasetConfig
from pipeline.data.classes import Classes
from pipeline.data.pixels import PixelRules
from pipeline.data.voc import Example, find_examples
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import mask_credentials
from pipeline.tracking.run_groups import Group, curves, recorded_data_folder
from pipeline.tracking.stored_run import StoredRun

MOST_COLUMNS = len(RUN_COLOURS)  # runs in the grid of images


@dataclass(frozen=True)
class Differences:
    """IoU of runs minus that of the best run, with the ends of 95 % intervals, each (runs, 1 + classes) float64.

    The ends are NaN for a single image.
    """

    images: int  # their number
    runs: Sequence[int]  # the run of each row, as its place in the ranking
    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Analysis:
    """The result of a comparison. Runs are in the order of their ranking, and mentioned by their place in it."""

    title: str
    runs: Sequence[ComparedRun]
    headings: Sequence[str]  # of each run: the parameters that distinguish it
    varying: Sequence[str]  # the parameters in which runs differ
    best: ComparedRun | None
    command: str  # repeats the best run; empty without one
    replicates: Sequence[Replicates]
    importances: Mapping[str, float]
    classes: Classes = field(default_factory=Classes)  # none without images
    columns: Sequence[int] = ()  # the runs that are columns of the grid
    images: ComparedImages = field(default_factory=ComparedImages)
    differences: Differences | None = None
    notes: Sequence[str] = ()

    @property
    def best_heading(self) -> str:
        """The heading of the best run; empty without one."""
        return "" if self.best is None else self.headings[self.runs.index(self.best)]


def analyse(group: Group, uri: str | None) -> Analysis:
    """Compare parameters and metrics; images are added by `with_images`.

    Args:
        uri: the tracking address as the user gave it, for the command that repeats the best run.
    """
    runs = ranked(read_run(stored, curves(stored, (CURVE,)), read_class_scores(stored)) for stored in group.runs)
    keys = varying(runs)
    best = best_of(runs)
    command = "" if best is None else f"python run.py rerun={best.run_id}"
    if command and uri is not None:
        command += f" tracking.uri={shlex.quote(mask_credentials(uri))}"
    notes = list(group.left_out)
    # Folds of one cross-validation are different data, and meant to be.
    by_fold = {(run.params.get(FOLD), run.data) for run in runs if run.data is not None}
    if len(by_fold) > len({fold for fold, _ in by_fold}):
        notes.append("The runs used different data, which alone can make their scores differ.")
    return Analysis(
        title=group.title,
        runs=runs,
        headings=headings(runs, keys),
        varying=keys,
        best=best,
        command=command,
        replicates=replicates(runs, keys),
        importances=importances(runs, keys),
        notes=notes,
    )


def with_images(analysis: Analysis, group: Group, data_root: Path | None) -> Analysis:
    """Add the runs' predictions, and their differences on the test images.

    Args:
        data_root: the dataset's folder; None: where the best run recorded it.

    Raises:
        UserError: `data_root` is given but is not a dataset's folder.
    """
    stored = {run.run_id: run for run in group.runs}
    first = stored[(analysis.best or analysis.runs[0]).run_id]
    try:
        config = first.config()
    except UserError as error:
        return replace(analysis, notes=[*analysis.notes, f"No images: {error.faults[0]}"])
    classes = config.dataset.classes
    columns, column_notes = _choose_columns(analysis.runs, stored, classes)
    examples, data_notes = find_data(first, config, data_root)
    images = collect_images(
        [stored[analysis.runs[place].run_id] for place in columns],
        examples,
        len(classes),
        PixelRules.of(config.dataset),
    )
    return replace(
        analysis,
        classes=Classes.of(config.dataset),
        columns=columns,
        images=images,
        differences=_differences(analysis, columns, images),
        notes=[*analysis.notes, *column_notes, *data_notes, *images.notes],
    )


def _choose_columns(
    runs: Sequence[ComparedRun], stored: Mapping[str, StoredRun], classes: list[str]
) -> tuple[list[int], list[str]]:
    """The best of the finished runs that have these classes, and a note on each that is left out."""
    columns: list[int] = []
    notes: list[str] = []
    for place, run in enumerate(runs):
        if len(columns) == MOST_COLUMNS:
            notes.append(f"Images are shown for the {MOST_COLUMNS} best of {len(runs)} runs.")
            break
        if run.status != "FINISHED":
            continue
        if _classes(stored[run.run_id]) == classes:
            columns.append(place)
        else:
            notes.append(f"Run {run.name} has no column among the images: its classes differ from the best run's.")
    return columns, notes


def find_data(stored: StoredRun, config: Config, data_root: Path | None) -> tuple[dict[str, Example], list[str]]:
    """The examples of the validation and test splits by id, and a note if they are missing.

    Raises:
        UserError: `data_root` is given but is not a dataset's folder.
    """
    if data_root is not None:
        return _examples(data_root, config.dataset), []
    recorded = recorded_data_folder(stored)
    configured = config.dataset.root or str(Path(config.data_dir) / config.dataset.name)
    for place in (recorded, Path(os.path.expanduser(configured))):  # ~<user> stays where there is no such user
        if place is not None and place.is_dir():
            try:
                return _examples(place, config.dataset), []
            except UserError:
                continue
    return {}, [
        f"Photographs and true masks are missing: the dataset was not found at {recorded or configured}; "
        "give its folder with data_root=<folder>. Images are sorted by how much the runs disagree."
    ]


def _examples(root: Path, dataset: DatasetConfig) -> dict[str, Example]:
    splits = ["val", *(["test"] if dataset.splits.test is not None else [])]
    if dataset.folds is not None:  # another run's val is a part of this one's train
        splits.append("train")
    found, _ = find_examples(root, replace(dataset, limit=None), splits)  # images with faults are left out
    return {example.id: example for examples in found.values() for example in examples}


def _classes(stored: StoredRun) -> list[str] | None:
    try:
        return stored.config().dataset.classes
    except UserError:
        return None


def _differences(analysis: Analysis, columns: Sequence[int], images: ComparedImages) -> Differences | None:
    """None without true masks, or unless the best run and another one have test predictions."""
    if images.confusion_matrices is None or analysis.best is None:
        return None
    runs = [columns[place] for place in images.scored_runs]
    run_ids = [analysis.runs[place].run_id for place in runs]
    if analysis.best.run_id not in run_ids or len(runs) < 2:
        return None
    found = bootstrap_differences(images.confusion_matrices, run_ids.index(analysis.best.run_id))
    return Differences(images.confusion_matrices.shape[1], runs, *found)
