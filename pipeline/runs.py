"""Runs in the terminal, and as a table for notebooks: `python -m pipeline.runs`, `from pipeline.runs import table`."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pipeline.config.fingerprint import changes_nothing
from pipeline.runtime.cli import parse, run_tool
from pipeline.runtime.text import plain

if TYPE_CHECKING:
    import pandas as pd

HELP = """\
Lists runs, the newest first, with what differs between them and their scores.

  python -m pipeline.runs                                       every run of the store
  python -m pipeline.runs experiment=<name>                     those of an experiment
  python -m pipeline.runs sweep=<name or run id>                the trials of a sweep
  python -m pipeline.runs where="best/val_mean_iou > 0.5 and model.width = 8"
  python -m pipeline.runs --csv > runs.csv                      every key, metric and tag, as CSV for other programs

where=…          conditions joined by `and`: a key of the configuration, a metric, a tag, or one of run, name, status,
                 minutes, experiment; then = != < <= > >=; then a value. Only numbers have an order; null: has no value
tracking.uri=…   MLflow tracking address; by default MLFLOW_TRACKING_URI or mlruns/mlflow.db in this folder

In a notebook:   from pipeline.runs import table; table(where="status = FINISHED")["model.width"]
"""
KEYS = ("experiment", "sweep", "where", "tracking.uri")
SHOWN_FIRST, SHOWN_LAST = ("started", "status", "run", "name"), ("best/val_mean_iou", "test/mean_iou")
PANDAS = {int: "Int64", float: "Float64", bool: "boolean", str: "string"}  # types that have missing values


def table(
    experiment: str | None = None, sweep: str | None = None, where: str | None = None, uri: str | None = None
) -> "pd.DataFrame":
    """Runs as a table, the newest first: a row for each, with its id as the index.

    Columns are what MLflow says of the run itself (`name`, `status`, `started`, …), the keys of the configuration with
    their own types, the last value of each metric, and the tags. A column with a value of another type is text: runs of
    other projects may have one.

    Args:
        experiment: its name; None: all.
        sweep: its name, or the id or run_key of its own run; None: all runs.
        where: conditions; see `python -m pipeline.runs --help`.
        uri: MLflow tracking address; None: the default.

    Raises:
        UserError: the store does not answer, there is no such experiment or sweep, or `where` is no condition.
    """
    import pandas as pd

    from pipeline.tracking.run_rows import OF_RUN, key_types

    rows, kinds = _rows(experiment, sweep, where, uri), key_types()
    metrics = dict.fromkeys(sorted({name for row in rows for name, value in row.items() if _is_metric(value)}))
    tags = dict.fromkeys(sorted({name for row in rows for name in row}))
    columns = list(dict.fromkeys([*OF_RUN, *kinds, *metrics, *tags]))
    frame = pd.DataFrame({name: pd.Series([row.get(name) for row in rows], dtype=object) for name in columns})
    for name in columns:
        if name == "started":
            frame[name] = pd.to_datetime(frame[name], utc=True, errors="coerce")  # pandas 2 ends with 2262
            continue
        number = "Float64" if name == "minutes" or name in metrics else "string"
        kind = PANDAS[kinds[name]] if name in kinds else number
        try:
            frame[name] = frame[name].astype(kind)
        except (OverflowError, ValueError, TypeError):  # another project's numbers, or text, under the same name
            frame[name] = frame[name].astype("string")
    return frame.set_index("run")


def main(arguments: list[str]) -> int:
    """List runs; returns the exit status 0.

    Raises:
        UserError: arguments are wrong, or MLflow does not answer.
    """
    as_csv = "--csv" in arguments
    given = parse([argument for argument in arguments if argument != "--csv"], optional=KEYS).values
    chosen = given.get("experiment"), given.get("sweep"), given.get("where"), given.get("tracking.uri")
    if as_csv:
        lines = table(*chosen).to_csv()
        # A file keeps every name as it is; on a terminal, control characters would have an effect.
        sys.stdout.write("\n".join(map(plain, lines.split("\n"))) if sys.stdout.isatty() else lines)
        return 0
    rows = _rows(*chosen)
    if not rows:
        print("no run is here" if given.get("where") is None else "no run meets the condition")
        return 0
    from pipeline.runtime.console import plain_table

    headings = [*SHOWN_FIRST, *_varying(rows), *SHOWN_LAST]
    print(plain_table(headings, ([_cell(name, row.get(name)) for name in headings] for row in rows), right=SHOWN_LAST))
    return 0


def _rows(experiment: str | None, sweep: str | None, where: str | None, uri: str | None) -> list[dict[str, Any]]:
    # Imported late: MLflow takes seconds, and a wrong argument is reported before.
    from pipeline.tracking.conditions import check_names, parse_conditions

    conditions = [] if where is None else parse_conditions(where)
    from pipeline.tracking.run_rows import OF_RUN, key_types, read_rows

    rows = read_rows(experiment, sweep, uri)
    if rows:
        check_names(conditions, {*OF_RUN, *key_types(), *(name for row in rows for name in row)})
    return [row for row in rows if all(condition.holds(row) for condition in conditions)]


def _varying(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The keys of the configuration in which runs differ, but for those that change no weight and no score."""
    from pipeline.tracking.run_rows import key_types

    return [key for key in key_types() if not changes_nothing(key) and len({row.get(key) for row in rows}) > 1]


def _is_metric(value: Any) -> bool:
    return isinstance(value, float)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if name in SHOWN_LAST else f"{value:.6g}"
    return str(value) if not hasattr(value, "astimezone") else value.astimezone().strftime("%Y-%m-%d %H:%M")


if __name__ == "__main__":
    run_tool(main, HELP, needs_arguments=False)
