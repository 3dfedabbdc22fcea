"""The end of a sweep: a table of its trials, the reasons of those that failed, and their comparison."""

from collections.abc import Sequence

from pipeline.runtime.console import duration, plain_table
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import plain
from pipeline.sweep.objectives import pareto_front, score
from pipeline.sweep.state import SWEEPS, sweep_lock
from pipeline.sweep.trial_job import TrialResult


def table(results: Sequence[TrialResult], objectives: Sequence[str]) -> str:
    """A line for each trial: number, status, scores, time, run and parameters, below a heading.

    A star marks the best trial or, of several objectives, every trial on the Pareto front.
    """
    rows = []
    best = pareto_front([result.metrics if result.status == "finished" else None for result in results], objectives)
    for number, result in enumerate(results, 1):
        scores = [score(result.metrics, objective) for objective in objectives]
        shown = ["-" if value is None else f"{value:.6g}" for value in scores]
        time = "earlier" if result.earlier else duration(result.seconds)
        star = "*" if best[number - 1] else ""
        rows.append([star, str(number), result.status, *shown, time, result.run or "-", result.label])
    return plain_table([" ", "trial", "status", *objectives, "time", "run", "parameters"], rows)


def failures(results: Sequence[TrialResult]) -> list[str]:
    """Why trials have no result, a line each."""
    return [
        f"trial {number} {result.status}: {plain(result.label)}: {plain(result.reason)}"
        + (" (earlier; sweep.retry_failed=true trains it again)" if result.earlier else "")
        for number, result in enumerate(results, 1)
        if result.reason
    ]


def comparison(name: str, key: str, uri: str | None) -> str:
    """Compare a sweep's trials, upload the page and its images to the sweep's own run, and return the findings as text.

    Args:
        name: of the sweep.
        key: run_key of its own run.
        uri: MLflow's address, as it was configured.
    """
    # Imported late: it takes seconds, which only a sweep with finished trials needs.
    from pipeline.compare.build import compare
    from pipeline.compare.text import findings

    output = SWEEPS / name / "comparison"
    try:
        with sweep_lock(name):  # several processes of one search may end at once
            compared = compare([key], uri, output)
    except UserError as error:
        return f"note: the trials are not compared: {'; '.join(error.faults)}"
    return "\n\n".join([*findings(compared.analysis), f"compared: {(output / 'comparison.html').resolve()}"])
