"""Runs as rows: what a run is called, its configuration with typed values, its metrics and its tags."""

import types
import typing
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import mlflow
from mlflow.entities import Run

from pipeline.config.keys import leaves
from pipeline.config.schema import Config
from pipeline.runtime.errors import UserError
from pipeline.tracking.search import find_run, open_client, open_experiment, search_runs
from pipeline.tracking.store import answering
from pipeline.tracking.sweep_runs import IS_SWEEP, SWEEP

OF_RUN = ("run", "name", "status", "started", "minutes", "experiment")  # columns before those of the configuration
Row = dict[str, Any]


def key_types() -> dict[str, type]:
    """{key of the configuration: type of its column}: int, float, bool, or str for everything else, lists included."""
    return {name: _column_type(item.type) for name, item, _ in leaves(Config)}


def read_rows(experiment: str | None, sweep: str | None, uri: str | None) -> list[Row]:
    """The runs of a store, the newest first, without the own runs of sweeps.

    Args:
        experiment: its name; None: all.
        sweep: its name, or the id or run_key of its own run; None: all runs.

    Raises:
        UserError: the store does not answer, or there is no such experiment or sweep.
    """
    client, found = (open_client(uri), None) if experiment is None else open_experiment(experiment, uri)
    if experiment is not None and found is None:
        raise UserError(f"experiment={experiment}: no experiment has this name; {_known(client)}")
    kinds = key_types()
    with answering(client.tracking_uri):
        names = {str(each.experiment_id): str(each.name) for each in client.search_experiments()}
        condition = "" if sweep is None else f"tags.{SWEEP} = '{_sweep_name(client, sweep)}'"
        newest = ["attributes.start_time DESC"]
        runs = search_runs(client, list(names) if found is None else [found], condition, order_by=newest)
        rows = [_row(run, names, kinds) for run in runs if IS_SWEEP not in run.data.tags]
    if sweep is not None and not rows:
        raise UserError(f"sweep={sweep}: no run is a trial of a sweep with this name, id or run_key")
    return rows


def _row(run: Run, experiments: dict[str, str], kinds: dict[str, type]) -> Row:
    info, data = run.info, run.data
    ended = info.end_time if info.end_time and info.status != "RUNNING" else None
    row: Row = {
        "run": str(info.run_id),
        "name": info.run_name,
        "status": info.status,
        "started": _time(info.start_time),
        "minutes": None if ended is None else (ended - info.start_time) / 60000,
        "experiment": experiments.get(str(info.experiment_id)),
    }
    row |= {key: _typed(data.params[key], kind) for key, kind in kinds.items() if key in data.params}
    row |= {name: value for name, value in data.metrics.items() if name not in row}
    row |= {name: text for name, text in data.tags.items() if name not in row and not name.startswith("mlflow.")}
    return row


def _time(milliseconds: int) -> datetime | None:
    """A time of MLflow's; None for one that Python's calendar, which ends with the year 9999, does not have."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _typed(text: str, kind: type) -> Any:
    """A parameter as its key's type; None for a null, and for what a hostile store may have in its place."""
    if text == "None":
        return None
    if kind is bool:
        return {"True": True, "False": False}.get(text)
    try:
        return kind(text)
    except ValueError:
        return None


def _column_type(annotation: Any) -> type:
    kinds = set(_members(annotation)) - {types.NoneType}
    return next(iter(kinds)) if len(kinds) == 1 and kinds <= {int, float, bool, str} else str


def _members(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, types.UnionType):
        yield from typing.get_args(annotation)
    else:
        yield annotation


def _sweep_name(client: mlflow.MlflowClient, sweep: str) -> str:
    """The name of a sweep that is given by its name, or by the id or run_key of its own run."""
    try:
        named = find_run(client, sweep, "sweep").data.tags.get(SWEEP)
    except UserError:
        named = None
    return (named or sweep).replace("'", "")


def _known(client: mlflow.MlflowClient) -> str:
    with answering(client.tracking_uri):
        names = sorted(str(each.name) for each in client.search_experiments())
    return f"this store has {', '.join(names[:10])}{' …' if len(names) > 10 else ''}"
