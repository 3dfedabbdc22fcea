"""A run as the comparison sees it: its colour, parameters, scores, curves and IoU of each class, as plain values."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.runtime.errors import UserError
from pipeline.tracking.run_groups import DIGEST
from pipeline.tracking.stored_run import StoredRun

VAL, TEST, BEST_EPOCH = "best/val_mean_iou", "test/mean_iou", "best/epoch"
SECONDS, PARAMETERS = "time/total_seconds", "model/parameters"
CURVE = "val/mean_iou"
# Further scores of the test split: what a column is called, and its metric.
TEST_SCORES = {
    "IoU, low": "test/mean_iou_low",
    "IoU, high": "test/mean_iou_high",
    "Dice": "test/mean_dice",
    "precision": "test/mean_precision",
    "recall": "test/mean_recall",
    "boundary IoU": "test/boundary_iou",
    "weighted IoU": "test/frequency_weighted_iou",
    "pixel accuracy": "test/pixel_accuracy",
}
# Scores of each class, and their columns in per_class.csv.
CLASS_SCORES = {
    "IoU": "iou",
    "Dice": "dice",
    "precision": "precision",
    "recall": "recall",
    "boundary IoU": "boundary_iou",
}
LARGEST_NUMBER = 1e300  # larger values do not count as numbers: the difference of two could be infinite

# One colour for each run, the same in the page, its charts and the PNGs: hues far apart, of a middle lightness that is
# clear on white as on dark grey. The first ones are Okabe and Ito's ("Color Universal Design", 2008), without black
# and yellow.
RUN_COLOURS = (
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c6bb1", "#a6761d", "#d7497e", "#5d8a2f",
    "#4c72c4", "#7f7f7f",
)  # fmt: skip
OTHER_COLOUR = "#9a9a9a"  # of all further runs


def run_colour(place: int) -> str:
    """The colour of the run at this place of the ranking, from 0."""
    return RUN_COLOURS[place] if place < len(RUN_COLOURS) else OTHER_COLOUR


@dataclass(frozen=True)
class ComparedRun:
    """What is compared of a run. The texts come from a server: they are escaped wherever they are shown."""

    run_id: str
    name: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    pruned: bool = False
    failure: str = ""
    data: str | None = None  # digest of its data; None if it ended before it had any
    initial: str | None = None  # hash of its initial weights; None for random ones
    started: int = 0  # milliseconds since 1970
    seconds: float | None = None
    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)  # metric -> epoch -> value
    # On the test split: name in CLASS_SCORES -> class -> score
    class_scores: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        """Whether it was trained and evaluated completely: only such a run can be the best."""
        return self.status == "FINISHED" and not self.pruned

    @property
    def class_iou(self) -> Mapping[str, float | None]:
        """IoU of each class on the test split; empty if it is not known."""
        return self.class_scores.get("IoU", {})

    def score(self, metric: str) -> float | None:
        """A metric; None if the run does not have it, or it is not a number."""
        value = self.metrics.get(metric)
        return value if value is not None and abs(value) < LARGEST_NUMBER else None

    @property
    def val(self) -> float | None:
        """The best validation mean IoU; for an unfinished run, the best of its epochs so far."""
        if (value := self.score(VAL)) is not None:
            return value
        return max((value for value in self.curves.get(CURVE, {}).values() if math.isfinite(value)), default=None)


def read_run(
    stored: StoredRun,
    curves: Mapping[str, Mapping[int, float]],
    class_scores: Mapping[str, Mapping[str, float | None]],
) -> ComparedRun:
    """What is compared of a run of MLflow.

    Args:
        curves: its metrics by epoch, as `pipeline.tracking.run_groups.curves` returns them.
        class_scores: as `read_class_scores` returns them; each of both is a request, so whoever needs none gives {}.
    """
    info, data = stored.run.info, stored.run.data
    seconds = data.metrics.get(SECONDS)
    if seconds is None and info.end_time and info.start_time:
        seconds = (info.end_time - info.start_time) / 1000
    return ComparedRun(
        run_id=stored.run_id,
        name=str(info.run_name or stored.run_id),
        status=str(info.status),
        params=dict(data.params),
        metrics=dict(data.metrics),
        pruned="pruned" in data.tags,
        failure=data.tags.get("failure", ""),
        data=data.tags.get(DIGEST),
        initial=data.tags.get("initial_weights_sha256"),
        started=int(info.start_time or 0),
        seconds=seconds if seconds is not None and math.isfinite(seconds) else None,
        curves=curves,
        class_scores=class_scores,
    )


def read_class_scores(stored: StoredRun) -> dict[str, dict[str, float | None]]:
    """Scores of each class on the test split, by their name; empty if the run does not have this table."""
    try:
        listed = stored.listed("evaluation")
        text = stored.fetch("evaluation/per_class.csv", listed).read_text(encoding="utf-8")
    except (UserError, OSError, UnicodeDecodeError):
        return {}
    return parse_class_scores(text)


def parse_class_scores(text: str) -> dict[str, dict[str, float | None]]:
    """The columns of a per_class.csv that are in CLASS_SCORES; runs of earlier versions have only the IoU.

    A score that is not a number between 0 and 1 is None.
    """
    try:
        table = csv.DictReader(text.splitlines())
        rows = list(table)[:255]
        known = {name: column for name, column in CLASS_SCORES.items() if column in (table.fieldnames or ())}
    except csv.Error:
        return {}
    return {name: {str(row.get("class")): _score(row.get(column)) for row in rows} for name, column in known.items()}


def _score(text: str | None) -> float | None:
    try:
        score = float(text or "nan")
    except ValueError:
        return None
    return score if 0 <= score <= 1 else None
