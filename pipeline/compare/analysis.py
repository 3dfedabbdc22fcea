"""Everything that is known of a group of runs, put together: ranking, means, importances, differences, images."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from pipeline.compare.colours import RUN_COLOURS
from pipeline.compare.examples import ComparedImages, collect_images
from pipeline.compare.importance import importances
from pipeline.compare.runs import CURVE, ComparedRun, read_run
from pipeline.compare.statistics import bootstrap_differences
from pipeline.compare.table import Replicates, best_of, headings, over_seeds, ranked, varying
from pipeline.config.schema import Config, DatasetConfig
from pipeline.data.voc import Example, find_examples
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import mask_credentials
from pipeline.tracking.run_groups import Group, curves, recorded_data_folder
from pipeline.tracking.stored_run import StoredRun

MOST_COLUMNS = len(RUN_COLOURS)  # runs in the grid of images


@dataclass(frozen=True)
class Differences:
    """IoU of runs minus that of the best run, with the ends of 95 % intervals, each (runs, 1 + classes) float64."""

    images: int
    runs: Sequence[int]  # which runs the rows are
    difference: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Analysis:
    """What a comparison came to. Runs are in the order of their ranking."""

    title: str
    runs: Sequence[ComparedRun]
    headings: Sequence[str]
    varying: Sequence[str]
    best: ComparedRun | None
    command: str  # which runs the best one again; empty where there is none
    replicates: Sequence[Replicates]
    importances: Mapping[str, float]
    classes: Sequence[str] = ()
    columns: Sequence[int] = ()  # which of the runs are columns of the grid
    images: ComparedImages = field(default_factory=ComparedImages)
    differences: Differences | None = None
    notes: Sequence[str] = ()

    @property
    def best_heading(self) -> str:
        """What tells the best run from the others."""
        return "" if self.best is None else self.headings[self.runs.index(self.best)]


def table_of(group: Group, uri: str | None) -> Analysis:
    """The comparison without images: what parameters and metrics say.

    Args:
        uri: the tracking address as it was typed, for the command that runs the best run again.
    """
    found = [read_run(stored, curves(stored, (CURVE,))) for stored in group.runs]
    runs = ranked(found)
    keys = varying(runs)
    best = best_of(runs)
    command = "" if best is None else f"python run.py rerun={best.run_id}"
    if command and uri is not None:
        command += f" tracking.uri={shlex.quote(mask_credentials(uri))}"
    notes = list(group.left_out)
    if len({run.data for run in runs if run.data is not None}) > 1:
        notes.append("The runs' data are not the same: what differs between their scores may be the data's.")
    return Analysis(
        title=group.title,
        runs=runs,
        headings=headings(runs, keys),
        varying=keys,
        best=best,
        command=command,
        replicates=over_seeds(runs, keys),
        importances=importances(runs, keys),
        notes=notes,
    )


def with_images(answer: Analysis, group: Group, data_root: Path | None) -> Analysis:
    """The same with the runs' predictions.

    Args:
        data_root: the dataset's folder; None: where the best run says that it was.
    """
    stored = {run.run_id: run for run in group.runs}
    first = answer.best or answer.runs[0]
    notes = list(answer.notes)
    try:
        config = stored[first.run_id].config()
    except UserError as error:
        return replace(answer, notes=[*notes, f"No images: {error.faults[0]}"])
    columns: list[int] = []
    for place, run in enumerate(answer.runs):
        if len(columns) == MOST_COLUMNS:
            notes.append(f"The images are those of the {MOST_COLUMNS} best of {len(answer.runs)} runs.")
            break
        if run.status != "FINISHED":
            continue
        if _classes(stored[run.run_id]) == config.dataset.classes:
            columns.append(place)
        else:
            notes.append(f"Run {run.name} is not among the images: its classes are others than the best run's.")
    examples, told = find_data(stored[first.run_id], config, data_root)
    notes += told
    images = collect_images(
        [stored[answer.runs[place].run_id] for place in columns], examples, len(config.dataset.classes)
    )
    return replace(
        answer,
        classes=list(config.dataset.classes),
        columns=columns,
        images=images,
        differences=_differences(answer, columns, images),
        notes=[*notes, *images.notes],
    )


def find_data(stored: StoredRun, config: Config, data_root: Path | None) -> tuple[dict[str, Example], list[str]]:
    """Photographs and truths of the validation and test splits by id, and a note where they are not there.

    Raises:
        UserError: `data_root` is given and is no dataset's folder.
    """
    if data_root is not None:
        return _examples(data_root, config.dataset), []
    recorded = recorded_data_folder(stored)
    named = config.dataset.root or str(Path(config.data_dir) / config.dataset.name)
    for place in (recorded, Path(named).expanduser()):
        if place is not None and place.is_dir():
            try:
                return _examples(place, config.dataset), []
            except UserError:
                continue
    return {}, [
        f"Without photographs and true masks: the dataset is not at {recorded or named} any more; "
        "data_root=<folder> says where it is now. Images are sorted by how much the runs disagree."
    ]


def _examples(root: Path, dataset: DatasetConfig) -> dict[str, Example]:
    only = [split for split in ("val", "test") if split == "val" or dataset.splits.test is not None]
    splits, _ = find_examples(root, dataset, only)  # an image with a fault is not among them
    return {example.id: example for examples in splits.values() for example in examples}


def _classes(stored: StoredRun) -> list[str] | None:
    try:
        return stored.config().dataset.classes
    except UserError:
        return None


def _differences(answer: Analysis, columns: Sequence[int], images: ComparedImages) -> Differences | None:
    """Of the runs with test predictions to the best run; None where the best has none, or there is no truth."""
    if images.scored is None or answer.best is None:
        return None
    runs = [columns[place] for place in images.scored_runs]
    ids = [answer.runs[place].run_id for place in runs]
    if answer.best.run_id not in ids or len(runs) < 2:
        return None
    found = bootstrap_differences(images.scored, ids.index(answer.best.run_id))
    return Differences(images.scored.shape[1], runs, *found)
