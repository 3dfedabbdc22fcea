"""The end of a sweep on the screen: a line for each trial, and one for each that failed."""

from collections.abc import Sequence

from rich.table import Table

from pipeline.display import duration, text_console
from pipeline.plain_text import plain
from pipeline.sweep.job import Outcome
from pipeline.sweep.objectives import score


def outcome_table(outcomes: Sequence[Outcome], objectives: Sequence[str]) -> Table:
    """Trial, status, scores, time and run."""
    table = Table(title="trials", title_justify="left")
    table.add_column("trial", justify="right")
    table.add_column("parameters", overflow="fold")
    table.add_column("status")
    for objective in objectives:
        table.add_column(objective, justify="right")
    table.add_column("time", justify="right")
    table.add_column("run", overflow="fold")
    for number, outcome in enumerate(outcomes, 1):
        scores = [score(outcome.metrics, objective) for objective in objectives]
        table.add_row(
            str(number),
            plain(outcome.label),
            outcome.status,
            *("-" if value is None else f"{value:.6g}" for value in scores),
            "earlier" if outcome.note else duration(outcome.seconds),
            outcome.run,
        )
    return table


def print_table(outcomes: Sequence[Outcome], objectives: Sequence[str]) -> None:
    """Show every trial, and below why some failed."""
    console = text_console()
    console.print()
    console.print(outcome_table(outcomes, objectives))
    for number, outcome in enumerate(outcomes, 1):
        if outcome.reason and outcome.status in ("failed", "interrupted"):
            told = f"trial {number} {outcome.status}: {plain(outcome.label)}: {plain(outcome.reason)}"
            console.print(told + (f" ({outcome.note})" if outcome.note else ""), soft_wrap=True)
