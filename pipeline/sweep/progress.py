"""The line that is printed when a trial has ended: its number, values and score, the best so far, and the time left."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.runtime.console import duration
from pipeline.runtime.files import write_atomic
from pipeline.runtime.text import plain
from pipeline.sweep.objectives import direction, score

ENDED = "ended-"  # files in the folder, a trial each


@dataclass(frozen=True)
class SweepProgress:
    """What a trial's process knows of the others when it begins, and a folder in which it reads what ended since."""

    folder: Path  # of this start of the sweep
    objectives: list[str]
    total: int  # trials of the sweep; 0: not known
    jobs: int  # that run at the same time
    scores: dict[int, float]  # of the first objective, by the number of each trial that had finished by then
    ended: list[int]  # numbers of all trials that had ended
    seconds: list[float]  # of those that were trained in this start
    until: float = math.inf  # `time.time()` at which the sweep ends

    def end(self, number: int, label: str, status: str, metrics: Mapping[str, float], seconds: float) -> str:
        """The line of a trial that has ended, which is noted for those after it.

        Args:
            number: of the trial, from 0.
            label: the values in which it differs from the others.
            seconds: that it took.
        """
        found = [score(metrics, objective) for objective in self.objectives]
        first = found[0] if status == "finished" else None
        write_atomic(self.folder / f"{ENDED}{number}.json", json.dumps([number, first, seconds]), flushed=False)
        since = [json.loads(file.read_text()) for file in self.folder.glob(f"{ENDED}*.json")]
        scores = self.scores | {place: value for place, value, _ in since if value is not None}
        ended = {*self.ended, *(place for place, _, _ in since)}
        times = [*self.seconds, *(taken for _, _, taken in since)]
        parts = [
            f"{objective} {value:.4g}"
            for objective, value in zip(self.objectives, found, strict=True)
            if value is not None
        ]
        if len(self.objectives) == 1 and (best := self._best(scores)) is not None:
            parts.append(f"best so far {scores[best]:.4g} (trial {best + 1})")
        if (remaining := self.total - len(ended)) > 0:
            left = min(math.ceil(remaining / self.jobs) * sum(times) / len(times), self.until - time.time())
            parts.append(f"about {duration(max(0.0, left))} left")
        of = f"/{self.total}" if self.total else ""
        return f"trial {number + 1}{of} {status}: {', '.join(filter(None, (plain(label), *parts)))}"

    def _best(self, scores: Mapping[int, float]) -> int | None:
        """The number of the best finished trial, the first of equal ones."""
        sign = 1 if direction(self.objectives[0]) == "maximize" else -1
        finite = [(-sign * value, number) for number, value in scores.items() if math.isfinite(value)]
        return min(finite)[1] if finite else None
