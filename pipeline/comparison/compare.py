"""One comparison from its runs to its files, and to what is kept of it in MLflow.

compare([parent_id], uri, Path("comparison"))    what a sweep calls at its end
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.comparison.answer import Answer, table_of, with_pictures
from pipeline.comparison.charts import write_charts
from pipeline.comparison.page import page
from pipeline.comparison.runs import PARAMETERS, TEST
from pipeline.comparison.table import NONE, SEED, csv_table, short_names, shown, text_table
from pipeline.errors import UserError
from pipeline.plain_text import plain
from pipeline.tracking.comparison import Group, describe_best, find_group, keep, register_model, tag_best


@dataclass(frozen=True)
class Compared:
    """What a comparison came to and where it is."""

    answer: Answer
    files: Sequence[Path]
    registered: str | None  # the address of the registered model


def compare(
    names: Sequence[str],
    uri: str | None,
    output: Path,
    data_root: Path | None = None,
    register: bool = False,
) -> Compared:
    """Compare runs, write comparison.html, runs.csv and PNGs, and tell a parent run what came of it.

    Of a parent run, the files are attached to it under comparison/, its description links the best child and says how
    to run that again, and the best child, and no other, has the tag `best`.

    Args:
        names: the id or run_key of a parent run; or those of several runs; or the name of an experiment.
        uri: MLflow's address; None: mlruns/mlflow.db in the current directory.
        output: the folder for the files, made where it is missing.
        data_root: the dataset's folder; None: where the best run says that it was.
        register: whether the best run's model is put into MLflow's registry, with the alias `best`.

    Raises:
        UserError: there is nothing to compare, a folder is wrong, or MLflow does not answer.
    """
    with opened(names, uri) as group:
        answer = with_pictures(table_of(group, uri), group, data_root)
        files = write(answer, output)
        best = next((run for run in group.runs if answer.best is not None and run.id == answer.best.id), None)
        if group.parent is not None:
            keep(group.parent, files)
            if best is not None:
                tag_best(group, best.id)
                describe_best(group.parent, best, answer.best_heading, answer.command)
        if register and best is None:
            raise UserError("register=true: no run has come to its end with a validation score")
        return Compared(answer, files, register_model(best) if register and best is not None else None)


def table(names: Sequence[str], uri: str | None) -> str:
    """The runs as CSV; nothing is written.

    Raises:
        UserError: there is nothing to compare, or MLflow does not answer.
    """
    with opened(names, uri) as group:
        answer = table_of(group, uri)
        return csv_table(answer.runs, answer.varying)


@contextlib.contextmanager
def opened(names: Sequence[str], uri: str | None) -> Iterator[Group]:
    """The runs that are named; what was fetched of them is gone afterwards."""
    group = find_group(names, uri)
    with contextlib.ExitStack() as folders:
        for stored in (*group.runs, *([group.parent] if group.parent is not None else [])):
            folders.enter_context(stored.folder)
        yield group


def write(answer: Answer, output: Path) -> list[Path]:
    """Write the page, the table and the charts.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        html, csv = output / "comparison.html", output / "runs.csv"
        html.write_text(page(answer), encoding="utf-8")
        csv.write_text(csv_table(answer.runs, answer.varying), encoding="utf-8")
        return [html, csv, *write_charts(output, answer)]
    except OSError as error:
        raise UserError(f"output={output}: cannot be written: {error.strerror}") from error


def told(answer: Answer) -> str:
    """The comparison as text: runs, means over seeds, importances, the best run."""
    short = short_names(answer.varying)
    known = any(run.score(PARAMETERS) is not None for run in answer.runs)
    head = [
        "",
        "run",
        *short.values(),
        "status",
        "val mIoU",
        "test mIoU",
        "minutes",
        *(["parameters"] if known else []),
    ]
    rows = []
    for run in answer.runs:
        parameters = run.score(PARAMETERS)
        cells = [
            "*" if run is answer.best else "",
            run.id if len(answer.runs) < 100 else run.id[:8],
            *(run.params.get(key, NONE) for key in answer.varying),
            "pruned" if run.pruned else run.status.lower(),
            shown(run.val),
            shown(run.score(TEST)),
            NONE if run.seconds is None else f"{run.seconds / 60:.1f}",
        ]
        rows.append([*cells, *([NONE if parameters is None else f"{parameters:,.0f}"] if known else [])])
    parts = [text_table(head, rows, numbers=4 if known else 3)]
    if answer.replicates:
        keys = [key for key in answer.varying if key != SEED]
        groups = [
            [*group.params.values(), str(len(group.ids)), _spread(group.val), _spread(group.test)]
            for group in answer.replicates
        ]
        head = [*(short[key] for key in keys), "seeds", "val mIoU", "test mIoU"]
        parts.append(f"over seeds, mean ± standard deviation\n{text_table(head, groups, numbers=3)}")
    if (found := answer.differences) is not None:
        rows = [
            [answer.headings[place], *(f"{part[row, 0]:+.4f}" for part in (found.difference, found.low, found.high))]
            for row, place in enumerate(found.runs)
            if answer.runs[place] is not answer.best
        ]
        parts.append(
            f"test mIoU minus that of the best run, on {found.pictures} pictures, 95 % bootstrap interval\n"
            + text_table(["run", "difference", "from", "to"], rows, numbers=3)
        )
    if answer.importances:
        listed = ", ".join(f"{short[key]} {100 * value:.0f} %" for key, value in answer.importances.items())
        parts.append(f"importance for the validation score (fANOVA): {plain(listed)}")
    if answer.best is not None:
        score = shown(answer.best.val)
        parts.append(f"best run {answer.best.id} ({plain(answer.best_heading)}): val mIoU {score}")
        parts[-1] += f"\nrun it again: {answer.command}"
    parts += [f"note: {plain(note)}" for note in answer.notes]
    return "\n\n".join(parts)


def _spread(pair: tuple[float, float] | None) -> str:
    return NONE if pair is None else f"{pair[0]:.4f} ± {pair[1]:.4f}"
