"""A comparison as text, for the screen."""

import math

from pipeline.compare.analysis import Analysis
from pipeline.compare.runs import PARAMETERS, TEST
from pipeline.compare.table import MISSING, REPEATS, format_score, repeated
from pipeline.config.keys import short_names
from pipeline.runtime.console import plain_table
from pipeline.runtime.text import plain, short_value


def summary(analysis: Analysis) -> str:
    """The table of runs, then the findings, in paragraphs."""
    return "\n\n".join([runs_table(analysis), *findings(analysis)])


def runs_table(analysis: Analysis) -> str:
    """A line for each run: the parameters in which runs differ, and its scores."""
    short = short_names(analysis.varying)
    with_parameters = any(run.score(PARAMETERS) is not None for run in analysis.runs)
    numbers = ["val mIoU", "test mIoU", "minutes", *(["parameters"] if with_parameters else [])]
    rows = []
    for run in analysis.runs:
        parameters = run.score(PARAMETERS)
        cells = [
            "*" if run is analysis.best else "",
            run.run_id if len(analysis.runs) < 100 else run.run_id[:8],
            *(short_value(run.params.get(key, MISSING)) for key in analysis.varying),
            "pruned" if run.pruned else run.status.lower(),
            format_score(run.val),
            format_score(run.score(TEST)),
            MISSING if run.seconds is None else f"{run.seconds / 60:.1f}",
            *([MISSING if parameters is None else f"{parameters:,.0f}"] if with_parameters else []),
        ]
        rows.append(cells)
    return plain_table(["", "run", *short.values(), "status", *numbers], rows, right=numbers)


def findings(analysis: Analysis) -> list[str]:
    """Paragraphs on what the runs show together: means over repeats, differences, importances, the best run, notes."""
    short = short_names(analysis.varying)
    paragraphs = []
    if analysis.replicates:
        paragraphs.append(
            f"over {repeated(analysis.varying)}, mean ± standard deviation\n{_replicates_table(analysis)}"
        )
    if analysis.differences is not None:
        images = analysis.differences.images
        where = f"{images} images, 95 % bootstrap interval" if images > 1 else "1 image, which has no interval"
        paragraphs.append(f"test mIoU minus that of the best run, on {where}\n{_differences_table(analysis)}")
    if analysis.importances:
        shares = ", ".join(f"{short[key]} {100 * value:.0f} %" for key, value in analysis.importances.items())
        paragraphs.append(f"importance for the validation score (fANOVA): {plain(shares)}")
    if analysis.best is not None:
        score = format_score(analysis.best.val)
        paragraphs.append(
            f"best run {analysis.best.run_id} ({plain(analysis.best_heading)}): val mIoU {score}\n"
            f"run it again: {analysis.command}"
        )
    return paragraphs + [f"note: {plain(note)}" for note in analysis.notes]


def _replicates_table(analysis: Analysis) -> str:
    short = short_names(analysis.varying)
    numbers = [repeated(analysis.varying), "val mIoU", "test mIoU"]
    rows = [
        [*map(short_value, group.params.values()), str(len(group.run_ids)), _spread(group.val), _spread(group.test)]
        for group in analysis.replicates
    ]
    return plain_table([*(short[key] for key in analysis.varying if key not in REPEATS), *numbers], rows, right=numbers)


def _differences_table(analysis: Analysis) -> str:
    found = analysis.differences
    assert found is not None
    numbers = ["difference", "from", "to"]
    rows = [
        [analysis.headings[place], *(_signed(part[row, 0]) for part in (found.difference, found.low, found.high))]
        for row, place in enumerate(found.runs)
        if analysis.runs[place] is not analysis.best
    ]
    return plain_table(["run", *numbers], rows, right=numbers)


def _signed(difference: float) -> str:
    """Args: difference: or an end of its interval; NaN if it does not exist."""
    return MISSING if math.isnan(difference) else f"{difference:+.4f}"


def _spread(pair: tuple[float, float] | None) -> str:
    return MISSING if pair is None else f"{pair[0]:.4f} ± {pair[1]:.4f}"
