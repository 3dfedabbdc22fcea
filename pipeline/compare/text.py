"""A comparison on the screen."""

from pipeline.compare.analysis import Analysis
from pipeline.compare.runs import PARAMETERS, TEST
from pipeline.compare.table import NONE, SEED, shown
from pipeline.config.keys import short_names
from pipeline.runtime.console import plain_table
from pipeline.runtime.text import plain, short_value


def told(answer: Analysis) -> str:
    """The comparison as text: a line for each run, and what was found."""
    return "\n\n".join([runs_table(answer), *findings(answer)])


def runs_table(answer: Analysis) -> str:
    """A line for each run: what it varies in, and how it scored."""
    short = short_names(answer.varying)
    known = any(run.score(PARAMETERS) is not None for run in answer.runs)
    numbers = ["val mIoU", "test mIoU", "minutes", *(["parameters"] if known else [])]
    rows = []
    for run in answer.runs:
        parameters = run.score(PARAMETERS)
        cells = [
            "*" if run is answer.best else "",
            run.run_id if len(answer.runs) < 100 else run.run_id[:8],
            *(short_value(run.params.get(key, NONE)) for key in answer.varying),
            "pruned" if run.pruned else run.status.lower(),
            shown(run.val),
            shown(run.score(TEST)),
            NONE if run.seconds is None else f"{run.seconds / 60:.1f}",
        ]
        rows.append([*cells, *([NONE if parameters is None else f"{parameters:,.0f}"] if known else [])])
    return plain_table(["", "run", *short.values(), "status", *numbers], rows, right=numbers)


def findings(answer: Analysis) -> list[str]:
    """What the runs say together, in paragraphs: means over seeds, differences, importances, the best run."""
    short = short_names(answer.varying)
    parts = []
    if answer.replicates:
        keys = [key for key in answer.varying if key != SEED]
        groups = [
            [*map(short_value, group.params.values()), str(len(group.ids)), _spread(group.val), _spread(group.test)]
            for group in answer.replicates
        ]
        numbers = ["seeds", "val mIoU", "test mIoU"]
        table = plain_table([*(short[key] for key in keys), *numbers], groups, right=numbers)
        parts.append(f"over seeds, mean ± standard deviation\n{table}")
    if (found := answer.differences) is not None:
        rows = [
            [answer.headings[place], *(f"{part[row, 0]:+.4f}" for part in (found.difference, found.low, found.high))]
            for row, place in enumerate(found.runs)
            if answer.runs[place] is not answer.best
        ]
        parts.append(
            f"test mIoU minus that of the best run, on {found.images} images, 95 % bootstrap interval\n"
            + plain_table(["run", "difference", "from", "to"], rows, right=("difference", "from", "to"))
        )
    if answer.importances:
        listed = ", ".join(f"{short[key]} {100 * value:.0f} %" for key, value in answer.importances.items())
        parts.append(f"importance for the validation score (fANOVA): {plain(listed)}")
    if answer.best is not None:
        score = shown(answer.best.val)
        parts.append(f"best run {answer.best.run_id} ({plain(answer.best_heading)}): val mIoU {score}")
        parts[-1] += f"\nrun it again: {answer.command}"
    parts += [f"note: {plain(note)}" for note in answer.notes]
    return parts


def _spread(pair: tuple[float, float] | None) -> str:
    return NONE if pair is None else f"{pair[0]:.4f} ± {pair[1]:.4f}"
