"""What is compared of a run: parameters, scores, curves and its classes' IoU, as plain values."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from pipeline.runtime.errors import UserError
from pipeline.tracking.stored_run import StoredRun

VAL, TEST, BEST_EPOCH = "best/val_mean_iou", "test/mean_iou", "best/epoch"
SECONDS, PARAMETERS = "time/total_seconds", "model/parameters"
CURVE = "val/mean_iou"
MOST = 1e300  # what is larger is taken for no number: differences of two could be infinite


@dataclass(frozen=True)
class ComparedRun:
    """A run as the comparison sees it. Its texts come from a server, and are escaped wherever they are shown."""

    run_id: str
    name: str
    status: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    pruned: bool = False
    failure: str = ""
    data: str | None = None  # digest of its data; None of a run that had none yet
    initial: str | None = None  # hash of the weights that it started from; None for random ones
    started: int = 0  # milliseconds since 1970
    seconds: float | None = None
    curves: Mapping[str, Mapping[int, float]] = field(default_factory=dict)  # metric -> epoch -> value
    class_iou: Mapping[str, float | None] = field(default_factory=dict)  # of the test split

    @property
    def finished(self) -> bool:
        """Whether it was trained and scored to its end, so that it may be the best."""
        return self.status == "FINISHED" and not self.pruned

    def score(self, metric: str) -> float | None:
        """A metric, None where the run has none that is a number."""
        value = self.metrics.get(metric)
        return value if value is not None and abs(value) < MOST else None

    @property
    def val(self) -> float | None:
        """The best validation mean IoU; of a run that did not come to its end, the best of its epochs."""
        if (value := self.score(VAL)) is not None:
            return value
        return max((value for value in self.curves.get(CURVE, {}).values() if math.isfinite(value)), default=None)


def read_run(stored: StoredRun, curves: Mapping[str, Mapping[int, float]]) -> ComparedRun:
    """What MLflow knows of a run.

    Args:
        curves: its metrics by epoch, as `pipeline.tracking.run_groups.curves` gives them.
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
        data=data.tags.get("data_digest"),
        initial=data.tags.get("initial_weights_sha256"),
        started=int(info.start_time or 0),
        seconds=seconds if seconds is not None and math.isfinite(seconds) else None,
        curves=curves,
        class_iou=read_class_iou(stored),
    )


def read_class_iou(stored: StoredRun) -> dict[str, float | None]:
    """IoU of each class on the test split, None for a class without one; empty where the run has no such table."""
    try:
        listed = stored.listed("evaluation")
        text = stored.fetch("evaluation/per_class.csv", listed).read_text(encoding="utf-8")
    except (UserError, OSError, UnicodeDecodeError):
        return {}
    return parse_class_iou(text)


def parse_class_iou(text: str) -> dict[str, float | None]:
    """The columns `class` and `iou` of a per_class.csv; what is no number between 0 and 1 is None."""
    found: dict[str, float | None] = {}
    try:
        for row in list(csv.DictReader(text.splitlines()))[:255]:
            try:
                iou = float(row.get("iou") or "nan")
            except ValueError:
                iou = math.nan
            found[str(row.get("class"))] = iou if 0 <= iou <= 1 else None
    except csv.Error:
        return {}
    return found
