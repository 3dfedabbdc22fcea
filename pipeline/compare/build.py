"""A comparison from beginning to end: find the runs, analyse them, write the files, store the result in MLflow.

compare([parent_id], uri, Path("comparison"))    as a sweep does when it ends
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.compare.analysis import Analysis, analyse, with_images
from pipeline.compare.charts import CHARTS, write_charts
from pipeline.compare.page.page import page
from pipeline.compare.table import csv_table
from pipeline.runtime.errors import UserError
from pipeline.tracking.run_groups import Group, describe_best, find_group, log_comparison, register_model, tag_best


@dataclass(frozen=True)
class Comparison:
    """A finished comparison, and where its results are."""

    analysis: Analysis
    files: Sequence[Path]
    registered: str | None  # the address of the registered model


def compare(
    names: Sequence[str],
    uri: str | None,
    output: Path,
    data_root: Path | None = None,
    register: bool = False,
) -> Comparison:
    """Compare runs, write comparison.html, runs.csv and PNGs, and store the result with the parent run, if any.

    A parent run gets the files as artifacts below comparison/, and a section of its description that links the best
    child and says how to repeat it; the best child, and no other, gets the tag `best`.

    Args:
        names: the id or run_key of a parent run; or those of several runs, among which a sweep stands for its trials;
            or the name of an experiment.
        uri: MLflow's address; None: mlruns/mlflow.db in the current directory.
        output: the folder for the files; created if it is missing.
        data_root: the dataset's folder; None: where the best run recorded it.
        register: whether to put the best run's model into MLflow's registry, with the alias `best`.

    Raises:
        UserError: there is nothing to compare, a folder is wrong, or MLflow does not answer.
    """
    with find_runs(names, uri) as group:
        analysis = with_images(analyse(group, uri), group, data_root)
        files = write(analysis, output)
        best_id = None if analysis.best is None else analysis.best.run_id
        best = next((run for run in group.runs if run.run_id == best_id), None)
        if group.parent is not None:
            log_comparison(group.parent, files)
            if best is not None:
                tag_best(group, best.run_id)
                describe_best(group.parent, best, analysis.best_heading, analysis.command)
        if register and best is None:
            raise UserError("register=true: no run finished with a validation score")
        return Comparison(analysis, files, register_model(best) if register and best is not None else None)


def table(names: Sequence[str], uri: str | None) -> str:
    """The runs as CSV; writes nothing.

    Raises:
        UserError: there is nothing to compare, or MLflow does not answer.
    """
    with find_runs(names, uri) as group:
        analysis = analyse(group, uri)
        return csv_table(analysis.runs, analysis.varying)


@contextlib.contextmanager
def find_runs(names: Sequence[str], uri: str | None) -> Iterator[Group]:
    """The runs that are named; at the end, the files that were fetched from them are deleted.

    Raises:
        UserError: there is nothing to compare, or MLflow does not answer.
    """
    group = find_group(names, uri)
    with contextlib.ExitStack() as folders:
        for stored in (*group.runs, *([group.parent] if group.parent is not None else [])):
            folders.enter_context(stored.folder)
        yield group


def write(analysis: Analysis, output: Path) -> list[Path]:
    """Write the page, the table and the charts; returns their files.

    Charts of an earlier comparison in this folder that this one does not have are removed: next to its page they would
    look like its own.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
        html, csv = output / "comparison.html", output / "runs.csv"
        earlier = [output / name for name in CHARTS] if html.is_file() else []
        html.write_text(page(analysis), encoding="utf-8")
        csv.write_text(csv_table(analysis.runs, analysis.varying), encoding="utf-8")
        charts = write_charts(output, analysis)
        for file in earlier:
            if file not in charts and file.is_file():
                file.unlink()
        return [html, csv, *charts]
    except OSError as error:
        raise UserError(f"output={output}: cannot be written: {error.strerror}") from error
