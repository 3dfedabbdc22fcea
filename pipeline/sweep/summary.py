"""The end of a sweep on the screen: a line for each trial, and one for each that failed."""

from collections.abc import Sequence

from pipeline.runtime.console import duration
from pipeline.runtime.text import plain
from pipeline.sweep.objectives import score, unbeaten
from pipeline.sweep.trial_job import TrialResult


def table(outcomes: Sequence[TrialResult], objectives: Sequence[str]) -> list[str]:
    """A line for each trial: number, status, scores, time, run and parameters, below a heading.

    A star marks the best; of several objectives, every trial that no other beats in one without losing in another.
    """
    rows = [[" ", "trial", "status", *objectives, "time", "run", "parameters"]]
    finished = [outcome.metrics if outcome.status == "finished" else None for outcome in outcomes]
    best = unbeaten(finished, objectives)
    for number, outcome in enumerate(outcomes, 1):
        scores = [score(outcome.metrics, objective) for objective in objectives]
        told = ["-" if value is None else f"{value:.6g}" for value in scores]
        time = "earlier" if outcome.earlier else duration(outcome.seconds)
        star = "*" if best[number - 1] else ""
        rows.append([star, str(number), outcome.status, *told, time, plain(outcome.run) or "-", plain(outcome.label)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def reasons(outcomes: Sequence[TrialResult]) -> list[str]:
    """Why trials have no result, a line each."""
    return [
        f"trial {number} {outcome.status}: {plain(outcome.label)}: {plain(outcome.reason)}"
        + (" (earlier; sweep.retry_failed=true trains it again)" if outcome.earlier else "")
        for number, outcome in enumerate(outcomes, 1)
        if outcome.reason
    ]
