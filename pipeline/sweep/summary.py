"""The end of a sweep: a line for each trial, one for each that failed, and the comparison of the trials."""

from collections.abc import Sequence
from pathlib import Path

from pipeline.runtime.console import duration
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import plain
from pipeline.sweep.objectives import score, unbeaten
from pipeline.sweep.state import SWEEPS, sweep_lock
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


def answer(name: str, key: str, uri: str | None) -> str:
    """Compare a sweep's trials, keep the page and the images with its own run, and tell what was found.

    Args:
        name: of the sweep.
        key: run_key of its own run.
        uri: MLflow's address, as it was configured.
    """
    # Not before the trials are over: it takes seconds.
    from pipeline.compare.build import compare
    from pipeline.compare.text import findings

    output = SWEEPS / name / "comparison"
    try:
        with sweep_lock(name):  # several processes of one search may end at once
            compared = compare([key], uri, output)
    except UserError as error:
        return f"note: the trials are not compared: {'; '.join(map(str, error.faults))}"
    page = Path(output / "comparison.html").resolve()
    return "\n\n".join([*findings(compared.answer), f"compared: {page}"])
