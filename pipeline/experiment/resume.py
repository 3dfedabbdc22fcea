"""`resume=<run id>` and `resume=auto`: an interrupted run, its configuration, and the checkpoint it continues from."""

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config.schema import Config
from pipeline.config.stored import parse_config
from pipeline.experiment.restore_remote import fetch, restore
from pipeline.runtime import signals
from pipeline.runtime.console import text_console
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import STALE_AFTER, Process, where
from pipeline.tracking.local_runs import find_local, local_runs
from pipeline.tracking.records import Begin, history_of, last_values, status_of
from pipeline.tracking.run_ref import InStore, RunRef, is_alive, silence, tracking_of
from pipeline.tracking.search import runs_with_fingerprint
from pipeline.tracking.store import Store
from pipeline.tracking.stored_run import open_run, run_id_of
from pipeline.tracking.sweep_runs import IS_SWEEP

SCORE = "best/val_mean_iou"
POLL_INTERVAL = 1.0  # seconds


@dataclass(frozen=True)
class Resumable:
    """A run that was begun before and has its folder here, with what its first journal record says of it."""

    run: RunRef
    config: Config
    data_digest: str | None = None  # None: an older version did not record it
    initial_sha256: str | None = None  # of its initial weights; None for random ones

    @property
    def name(self) -> str:
        """MLflow's id of the run or, until there is one, its key."""
        return self.run.name

    @property
    def checkpoints(self) -> Path:
        """The folder of its checkpoints."""
        return self.run.folder / "checkpoints"


@dataclass(frozen=True)
class Finished:
    """A run that needs no more training, and its results."""

    name: str
    metrics: dict[str, float]  # the last value of each: a search may optimise others than the score

    @property
    def score(self) -> float:
        """The best validation mean IoU, which the run returned."""
        return self.metrics[SCORE]


def find_resumable(name: str, uri: str | None) -> Resumable:
    """The run with this id or run_key: from its journal if that is here and the newest, else restored from MLflow.

    A registered model's run has finished: it can only be continued with more epochs, as a new run.

    Args:
        name: also `models:/<name>@<alias>` or `models:/<name>/<version>`.
        uri: the tracking address that was given; None for the recorded one.

    Raises:
        UserError: there is no such run, it is alive, or its state cannot be restored on this machine.
    """
    name = run_id_of(name, uri, "resume")
    run, tracked = find_local(name), None
    if run is None:
        run = _restored(name, uri)
    elif not run.in_use and IS_SWEEP not in _begin(run).tags:
        address = tracking_of(_begin(run), uri).uri
        tracked = run.in_store(address)
        if tracked is not None:
            _refuse_if_over(name, run, tracked)
            if run.resumed_elsewhere(tracked.run.data.tags):
                run = _restored(name, address)
    found, owner = _resumable(run), run.owner()
    if run.in_use:
        raise UserError(f"resume={name}: is still alive{where(owner)}; it can be resumed when it has ended")
    if owner is not None and not owner.on_this_host and run.status() == "RUNNING":
        _refuse_if_alive(name, owner, run.silence())  # a folder shared by machines, on a file system without locks
    if owner is not None and owner.is_alive and not owner.is_this_process and run.status() == "RUNNING":
        raise UserError(
            f"resume={name}: is still alive{where(owner)}, in the folder that this one is a copy of; it can be resumed "
            "when it has ended"
        )
    tracking = tracking_of(_begin(run), uri)
    if tracked is not None:  # the experiment may have been renamed since
        tracking.experiment = tracked.experiment
    found.config.tracking = replace(tracking, run_name=found.config.tracking.run_name)
    return found


def find_same(fingerprint: str, experiment: str, store: Store | None) -> Finished | Resumable | None:
    """A run with this fingerprint in an experiment: a finished one before an interrupted one, the newest of each.

    Runs that are alive, that failed, or whose checkpoints are on another machine are ignored. So one that a killed
    container left RUNNING is resumed by the next one, whose host has another name.

    Args:
        store: None if it does not answer; only this machine is searched then.
    """
    runs = [run for run in local_runs() if _begin(run).tags.get("fingerprint") == fingerprint]
    tracked = runs_with_fingerprint(fingerprint, store)
    if tracked is None:
        runs = [run for run in runs if _begin(run).experiment == experiment]
    else:
        for stored in tracked:
            if stored.info.status == "FINISHED" and SCORE in stored.data.metrics:
                return Finished(str(stored.info.run_id), dict(stored.data.metrics))
        tags = {stored.info.run_id: stored.data.tags for stored in tracked}
        # One that was deleted in MLflow is no longer wanted; one that was resumed elsewhere has its checkpoints there.
        # The experiment of one that MLflow has is known by its id, since experiments are renamed.
        runs = [
            run
            for run in runs
            if (_begin(run).experiment == experiment if (run_id := run.run_id) is None else run_id in tags)
            and (run_id is None or run.is_current(tags[run_id]))
        ]
    for run in runs:
        if finished := finished_already(run):
            return finished
    return next((_resumable(run) for run in runs if _is_interrupted(run)), None)


def _is_interrupted(run: RunRef) -> bool:
    """Whether a run was interrupted: it is KILLED, or RUNNING, while its process is dead.

    The process of a container that was started again, or of another machine with this folder, cannot be looked up. It
    is dead when its heartbeat has been silent for long enough, which is waited for.
    """
    if run.in_use:
        return False
    if (status := run.status()) != "RUNNING":
        return status == "KILLED"
    owner, silent = run.owner(), run.silence()
    if is_alive(owner, silent) and (owner is None or not owner.on_this_boot):
        text_console().print(
            f"note      run {run.name} was RUNNING{where(owner)} {silent:.0f} s ago: it is resumed if it is silent for "
            f"{STALE_AFTER:.0f} s",
            soft_wrap=True,
        )
        while silent < STALE_AFTER and not run.in_use:
            time.sleep(POLL_INTERVAL)
            signals.raise_pending()
            before, silent = silent, run.silence()
            if silent < before:  # a heartbeat
                return False
    return not (run.in_use or is_alive(owner, silent))


def finished_already(run: RunRef) -> Finished | None:
    """The results of a run that has finished; None for any other."""
    records = run.records()
    metrics = last_values(history_of(records))
    return Finished(run.name, metrics) if status_of(records) == "FINISHED" and SCORE in metrics else None


def _restored(name: str, uri: str | None) -> RunRef:
    """The run with this id or run_key, restored from MLflow unless its newest state is here already."""
    stored = open_run(name, uri, "resume")
    with stored.folder:
        key = stored.tags.get("run_key", "")
        if not re.fullmatch("[0-9a-f]{32}", key):  # it becomes the name of a folder
            raise UserError(f"resume={name}: has no run_key of this program")
        run = RunRef.of(key)
        if not run.is_current(stored.tags):
            if stored.run.info.status == "RUNNING":
                _refuse_if_alive(name, Process.read(stored.tags), silence(stored.tags))
            restore(run, fetch(stored, run, uri))
    return run


def _refuse_if_over(name: str, run: RunRef, tracked: InStore) -> None:
    """Refuse a run that was deleted in MLflow, or that finished there without this folder's journal.

    Raises:
        UserError: it was, or it did.
    """
    if tracked.deletion is not None:
        raise UserError(f"resume={name}: {tracked.deletion}")
    if tracked.run.info.status == "FINISHED" and run.status() != "FINISHED" and run.is_current(tracked.run.data.tags):
        raise UserError(f"resume={name}: has finished since, in another copy of this folder; nothing is left to train")


def _refuse_if_alive(name: str, process: Process | None, silent: float) -> None:
    """Refuse a run that is RUNNING and may be alive.

    Args:
        silent: seconds since its last heartbeat.

    Raises:
        UserError: it is, or may be.
    """
    if is_alive(process, silent):
        raise UserError(
            f"resume={name}: is still alive{where(process)}, last heartbeat {max(0, silent):.0f} s ago; "
            "it can be resumed when it has ended"
        )


def _resumable(run: RunRef) -> Resumable:
    begin = _begin(run)
    if IS_SWEEP in begin.tags:
        raise UserError(f"resume={run.name}: is a sweep; its command, typed again, continues it")
    config = parse_config(begin.config, f"{run.folder}: the journal's configuration")
    return Resumable(run, config, begin.tags.get("data_digest"), begin.tags.get("initial_weights_sha256"))


def _begin(run: RunRef) -> Begin:
    begin = run.begin()
    assert begin is not None  # a local run has begun
    return begin
