"""A sweep as its runs show it: its own run, which trains nothing and holds the trials, and what came of each."""

import contextlib
import re
import time
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import Run

from pipeline.config.addresses import tracking_uri
from pipeline.config.schema import TrackingConfig
from pipeline.runtime.process import STALE_AFTER, Process
from pipeline.runtime.text import mask_credentials
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import (
    FILE,
    Journal,
    Record,
    begin_of,
    history_of,
    in_use,
    last_values,
    read_journal,
    status_of,
)
from pipeline.tracking.local_runs import local_id, local_runs, silence
from pipeline.tracking.ownership import is_current, taken_over
from pipeline.tracking.store import Store
from pipeline.tracking.tracked_run import RUNS, TrackedRun, write_begin

SWEEP, TRIAL, IS_SWEEP = "sweep", "trial", "is_sweep"  # tags: of trials, of trials, of the sweep's own run


@dataclass(frozen=True)
class Child:
    """A trial that was begun, now or in an earlier start of its sweep."""

    key: str
    name: str  # MLflow's, or the run's key
    trial: str  # what it is a trial of; see `pipeline.sweep.command.trial_name`
    status: str  # FINISHED, FAILED, KILLED or RUNNING
    alive: bool
    pruned: bool
    metrics: dict[str, float]  # the last value of each
    reason: str  # why it failed


def open_sweep_run(
    key: str, name: str, tracking: TrackingConfig, tags: dict[str, str], config: str, overrides: list[str]
) -> TrackedRun:
    """A sweep's own run, begun or taken up again.

    Raises:
        Busy: another process has it.
    """
    journal = Journal(RUNS / key)
    if not journal.records:
        own = {**tags, SWEEP: name, IS_SWEEP: "true", "mlflow.source.name": "run.py", "mlflow.source.type": "LOCAL"}
        write_begin(journal, tracking, name, own, config, overrides)
    return TrackedRun(journal, tracking, trains=False)


@dataclass(frozen=True)
class SweepRun:
    """A sweep's own run as MLflow has it."""

    key: str  # its run_key
    alive: bool  # elsewhere


def find_sweep_run(name: str, store: Store) -> SweepRun | None:
    """The own run of a sweep that was begun in another folder or on another machine, the oldest of several."""
    found = mlflow.MlflowClient(store.uri).search_runs(
        [store.experiment_id],
        f"tags.{SWEEP} = '{name}' AND tags.{IS_SWEEP} = 'true'",
        order_by=["attributes.start_time ASC"],
    )
    for run in found:
        tags, key = run.data.tags, run.data.tags.get("run_key", "")
        if not re.fullmatch("[0-9a-f]{32}", key):  # it becomes a folder's name
            continue
        process = Process.read(tags)
        lives = process.is_alive if process is not None and process.on_this_boot else silence(tags) < STALE_AFTER
        # Of a process that its journal here knows, the journal's lock tells more than how long it was silent.
        elsewhere = not is_current(read_journal(RUNS / key), tags)
        return SweepRun(key, run.info.status == "RUNNING" and lives and elsewhere)
    return None


def children(name: str, tracking: TrackingConfig, store: Store | None) -> list[Child]:
    """The trials of a sweep, the newest first: of this machine by their journals, of others by MLflow.

    One that another machine has gone on with is the other's.

    Args:
        store: None while it does not answer; only this machine is searched then.
    """
    local = [folder for folder in local_runs() if _is_trial(begin_of(folder), name)]
    found = [_local_child(folder) for folder in local]
    if store is None:
        return found
    tracked = _tracked(name, store)
    # One that was deleted in MLflow is no longer wanted.
    ids = {run.info.run_id for run in tracked}
    here = {folder.name: local_id(folder) for folder in local if _same_place(begin_of(folder), tracking)}
    found = [child for child in found if here.get(child.key) is None or here[child.key] in ids]
    tags = {run.data.tags.get("run_key"): run.data.tags for run in tracked}
    found = [child for child in found if not _gone_on_elsewhere(child, tags.get(child.key, {}))]
    keys = {child.key for child in found}
    return found + [_tracked_child(run) for run in tracked if run.data.tags.get("run_key") not in keys]


def wait_for_end(key: str, seconds: float) -> bool:
    """Wait until no process writes a run's journal; False if one still does after so many seconds."""
    until = time.monotonic() + seconds
    while in_use(RUNS / key):
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def mark_failed(key: str, tracking: TrackingConfig, reason: str) -> str:
    """Say of a run whose process died that it failed, and why. What MLflow does not take now is left in the journal.

    Returns:
        MLflow's id of the run, or its key.

    Raises:
        Busy: another process has it.
    """
    journal = Journal(RUNS / key)
    with contextlib.closing(journal):
        journal.append("tags", values={"failure": mask_credentials(reason)[:5000]})
        journal.append("status", status="FAILED")
        with contextlib.suppress(Exception):
            delivery = Delivery(journal, tracking)
            while not delivery.done:
                delivery.send_next()
    return local_id(RUNS / key) or key


def has_journal(key: str) -> bool:
    """Whether a run was begun on this machine."""
    return (RUNS / key / FILE).is_file()


def _is_trial(begin: Record | None, name: str) -> bool:
    return begin is not None and begin["tags"].get(SWEEP) == name and TRIAL in begin["tags"]


def _gone_on_elsewhere(child: Child, tags: dict[str, str]) -> bool:
    if child.alive or child.status == "FINISHED":  # nothing that another has done with it is waited for
        return False
    return taken_over(read_journal(RUNS / child.key), tags) is not None


def _same_place(begin: Record | None, tracking: TrackingConfig) -> bool:
    recorded = begin and (begin["tracking_uri"] or tracking_uri(None))
    here = mask_credentials(tracking_uri(tracking.uri))
    return bool(begin and recorded == here and begin["experiment"] == tracking.experiment)


def _local_child(folder: Path) -> Child:
    records = read_journal(folder)
    tags = dict(records[0]["tags"])
    for record in records:
        if record["kind"] == "tags":
            tags |= record["values"]
    metrics = last_values(history_of(records))
    return Child(
        folder.name,
        local_id(folder) or folder.name,
        tags[TRIAL],
        status_of(records),
        in_use(folder),
        "pruned" in tags,
        metrics,
        tags.get("failure", ""),
    )


def _tracked_child(run: Run) -> Child:
    tags = run.data.tags
    alive = run.info.status == "RUNNING" and silence(tags) < STALE_AFTER
    return Child(
        tags.get("run_key", ""),
        str(run.info.run_id),
        tags[TRIAL],
        str(run.info.status),
        alive,
        "pruned" in tags,
        dict(run.data.metrics),
        tags.get("failure", ""),
    )


def _tracked(name: str, store: Store) -> list[Run]:
    client, found, token = mlflow.MlflowClient(store.uri), [], None
    while True:
        page = client.search_runs(
            [store.experiment_id], f"tags.{SWEEP} = '{name}' AND tags.{TRIAL} != ''", page_token=token
        )
        found += [run for run in page if TRIAL in run.data.tags]
        token = page.token
        if not token:
            return found
