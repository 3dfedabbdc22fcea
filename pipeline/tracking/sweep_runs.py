"""The runs of a sweep: its own run, which trains nothing and contains the trials, and the result of each trial."""

import contextlib
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import mlflow
from mlflow.entities import Run
from omegaconf import OmegaConf

from pipeline.config.environment import experiment_name
from pipeline.config.schema import TrackingConfig
from pipeline.runtime.process import Process
from pipeline.runtime.text import mask_credentials
from pipeline.tracking.delivery import send_if_possible
from pipeline.tracking.journal import Journal
from pipeline.tracking.local_runs import local_runs
from pipeline.tracking.records import Begin, Params, Status, Tags, history_of, last_values, status_of
from pipeline.tracking.run_ref import RUNS, RunRef, is_alive, same_address, silence
from pipeline.tracking.search import deletion, get_run, search_runs
from pipeline.tracking.store import Store, answering
from pipeline.tracking.tracked_run import LONGEST_TAG, TrackedRun, as_params, begin_record

SWEEP, TRIAL, IS_SWEEP = "sweep", "trial", "is_sweep"  # tags: of trials, of trials, of the sweep's own run


@dataclass(frozen=True)
class SweepRun:
    """A sweep's own run as MLflow has it."""

    key: str
    alive: bool  # on another machine


@dataclass(frozen=True)
class Child:
    """A trial that was begun, in this start of its sweep or in an earlier one."""

    key: str
    name: str  # MLflow's id or, until there is one, the key
    trial: str  # what it is a trial of; see `pipeline.sweep.command.trial_name`
    status: str  # FINISHED, FAILED, KILLED or RUNNING
    alive: bool
    pruned: bool
    metrics: dict[str, float]  # the last value of each
    reason: str  # why it failed


def open_sweep_run(
    key: str, name: str, tracking: TrackingConfig, tags: dict[str, str], config: str, overrides: list[str]
) -> TrackedRun:
    """A sweep's own run, new or continued.

    Raises:
        Busy: another process has it.
    """
    journal = Journal(RUNS / key)
    if not journal.records:
        own = {**tags, SWEEP: name, IS_SWEEP: "true", "mlflow.source.name": "run.py", "mlflow.source.type": "LOCAL"}
        journal.append(begin_record(tracking, name, own, config, overrides))
    return TrackedRun(journal, tracking, trains=False)


def find_sweep_run(name: str, store: Store) -> SweepRun | None:
    """The own run of a sweep that was begun in another folder or on another machine, the oldest of several.

    Raises:
        Unreachable: the store does not answer any more.
    """
    condition, oldest_first = f"tags.{SWEEP} = '{name}' AND tags.{IS_SWEEP} = 'true'", ["attributes.start_time ASC"]
    client = mlflow.MlflowClient(store.uri)
    with answering(store.uri):
        runs = list(search_runs(client, [store.experiment_id], condition, order_by=oldest_first))
    for run in runs:
        tags, key = run.data.tags, run.data.tags.get("run_key", "")
        if not re.fullmatch("[0-9a-f]{32}", key):  # it becomes the name of a folder
            continue
        # If the journal here knows the process, the journal's lock shows whether it is alive.
        return SweepRun(key, _is_alive_in_store(run) and not RunRef.of(key).is_current(tags))
    return None


def children(name: str, tracking: TrackingConfig, store: Store | None) -> list[Child]:
    """The trials of a sweep, the newest first: those of this machine from their journals, others from MLflow.

    A trial that another machine has resumed comes from MLflow, too.

    Args:
        store: None if it does not answer; only this machine is searched then.

    Raises:
        Unreachable: it does not answer any more.
    """
    local = [(run, begin) for run in local_runs() if (begin := run.begin()) is not None and _is_trial(begin, name)]
    if store is None:
        return [_local_child(run) for run, _ in local]
    client = mlflow.MlflowClient(store.uri)
    with answering(store.uri):
        tracked = list(_tracked(name, client, store))
    run_ids = {run.info.run_id for run in tracked}
    tags = {run.data.tags.get("run_key"): run.data.tags for run in tracked}
    found = []
    for run, begin in local:
        here = same_address(begin, tracking.uri) and begin.experiment == experiment_name(tracking)
        if here and run.run_id is not None and run.run_id not in run_ids:
            with answering(store.uri):
                found_by_id = get_run(client, run.run_id)
            # Others are in an experiment that was renamed, or in a database that was lost.
            if found_by_id is not None and deletion(client, found_by_id) is not None:
                continue  # it is no longer wanted
        child = _local_child(run)
        # A trial that is alive or FINISHED here counts, whatever another machine has done with it.
        if child.alive or child.status == "FINISHED" or not run.resumed_elsewhere(tags.get(run.key, {})):
            found.append(child)
    keys = {child.key for child in found}
    return found + [_tracked_child(run) for run in tracked if run.data.tags.get("run_key") not in keys]


def wait_for_end(key: str, seconds: float) -> bool:
    """Wait until no process writes the journal of a run; False if one still does after so many seconds."""
    until = time.monotonic() + seconds
    while RunRef.of(key).in_use:
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


def mark_failed(key: str, tracking: TrackingConfig, reason: str) -> str:
    """Mark a run whose process died as FAILED, with the reason. What cannot be sent now stays in the journal.

    Returns:
        MLflow's id of the run, or its key.

    Raises:
        Busy: another process has it.
    """
    with contextlib.closing(Journal(RUNS / key)) as journal:
        journal.append(Tags({"failure": mask_credentials(reason)[:LONGEST_TAG]}))
        journal.append(Status("FAILED"))
        send_if_possible(journal, tracking.uri)
    return RunRef.of(key).name


def record_failure(request: dict[str, Any], reason: str) -> str:
    """Record a trial that failed before it had a run as a FAILED run of its own, so that it is listed with the others.

    Args:
        request: with the config, overrides, name, tags and parent of the trial, as `worker.protocol.RunTrial` has them.

    Returns:
        MLflow's id of the run, or its key.
    """
    config, key = request["config"], uuid.uuid4().hex
    tracking = TrackingConfig(uri=config["tracking"].get("uri"), experiment=config["tracking"]["experiment"])
    with contextlib.closing(Journal(RUNS / key)) as journal:
        text = OmegaConf.to_yaml(OmegaConf.create(config))
        overrides, parent = request["overrides"], request["parent"]
        journal.append(begin_record(tracking, request["name"], request["tags"], text, overrides, parent))
        journal.append(Params(as_params(dict(_flat(config)))))
    return mark_failed(key, tracking, reason)


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a configuration as plain values, which the schema may refuse, by their dotted keys."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _is_trial(begin: Begin, name: str) -> bool:
    return begin.tags.get(SWEEP) == name and TRIAL in begin.tags


def _local_child(run: RunRef) -> Child:
    records = run.records()
    owner, status = run.owner(), status_of(records)
    # The process of another host, whose lock may not reach here, cannot be looked up: resuming is up to its heartbeat.
    elsewhere = status == "RUNNING" and owner is not None and not owner.on_this_host
    tags: dict[str, str] = {}
    for record in records:
        if isinstance(record, Begin):
            tags |= record.tags
        elif isinstance(record, Tags):
            tags |= record.values
    return Child(
        key=run.key,
        name=run.name,
        trial=tags[TRIAL],
        status=status,
        alive=run.in_use or (elsewhere and is_alive(owner, run.silence())),
        pruned="pruned" in tags,
        metrics=last_values(history_of(records)),
        reason=tags.get("failure", ""),
    )


def _tracked_child(run: Run) -> Child:
    tags = run.data.tags
    return Child(
        key=tags.get("run_key", ""),
        name=str(run.info.run_id),
        trial=tags[TRIAL],
        status=str(run.info.status),
        alive=_is_alive_in_store(run),
        pruned="pruned" in tags,
        metrics=dict(run.data.metrics),
        reason=tags.get("failure", ""),
    )


def _is_alive_in_store(run: Run) -> bool:
    tags = run.data.tags
    return run.info.status == "RUNNING" and is_alive(Process.read(tags), silence(tags))


def _tracked(name: str, client: mlflow.MlflowClient, store: Store) -> Iterator[Run]:
    condition = f"tags.{SWEEP} = '{name}' AND tags.{TRIAL} != ''"
    found = search_runs(client, [store.experiment_id], condition)
    return (run for run in found if TRIAL in run.data.tags)
