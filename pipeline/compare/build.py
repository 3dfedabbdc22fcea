"""One comparison from its runs to its files, and to what is kept of it in MLflow.

compare([parent_id], uri, Path("comparison"))    what a sweep calls at its end
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.compare.analysis import Analysis, table_of, with_images
from pipeline.compare.charts import write_charts
from pipeline.compare.page.page import page
from pipeline.compare.table import csv_table
from pipeline.runtime.errors import UserError
from pipeline.tracking.run_groups import Group, describe_best, find_group, log_comparison, register_model, tag_best


@dataclass(frozen=True)
class Compared:
    """What a comparison came to and where it is."""

    answer: Analysis
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
        answer = with_images(table_of(group, uri), group, data_root)
        files = write(answer, output)
        best = next((run for run in group.runs if answer.best is not None and run.run_id == answer.best.run_id), None)
        if group.parent is not None:
            log_comparison(group.parent, files)
            if best is not None:
                tag_best(group, best.run_id)
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


def write(answer: Analysis, output: Path) -> list[Path]:
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
