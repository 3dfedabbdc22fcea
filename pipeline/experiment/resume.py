"""`resume=<run id>` and `resume=auto`: an interrupted run, its configuration, and the checkpoint it goes on from."""

import re
import time
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.config.keys import flatten
from pipeline.config.schema import Config
from pipeline.config.stored import parse_config
from pipeline.experiment.restore_remote import adopt, copy_folder
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import STALE_AFTER, Process, where
from pipeline.tracking.journal import (
    Busy,
    Journal,
    Record,
    begin_of,
    history_of,
    in_use,
    last_values,
    read_journal,
    status_of,
)
from pipeline.tracking.local_runs import find_local, last_process, local_id, local_runs, silence, tracking_of
from pipeline.tracking.ownership import is_current, run_if_it_answers
from pipeline.tracking.store import Store
from pipeline.tracking.stored_run import open_run, runs_with_fingerprint
from pipeline.tracking.sweep_runs import IS_SWEEP
from pipeline.tracking.tracked_run import RUNS, TrackedRun
from pipeline.train.checkpoint import ResumePoint, best_folder, newest_resume_point

MAY_CHANGE = ("tracking.", "sweep.", "data_dir", "dataset.root")  # what a resumed run may be told anew
SCORE = "best/val_mean_iou"


@dataclass(frozen=True)
class Resumable:
    """A run that was begun before, with its folder under mlruns/."""

    name: str  # MLflow's, or the run's key
    config: Config
    folder: Path
    status: str
    data_digest: str | None
    initial_sha256: str | None = None  # of the weights that it started from; None for random ones


@dataclass(frozen=True)
class Finished:
    """A run that needs no more training, and what it came to."""

    name: str
    metrics: dict[str, float]  # the last value of each: a search may go by others than the score

    @property
    def score(self) -> float:
        """The best validation mean IoU, which the run returned."""
        return self.metrics[SCORE]


def find_resumable(name: str, uri: str | None) -> Resumable:
    """The run with this id or run_key: from its journal if that is on this machine and the newest, else from MLflow.

    Raises:
        UserError: there is none, it is alive, or nothing of it can be had on this machine.
    """
    folder = find_local(name)
    if folder is None:
        folder = _from_mlflow(name, uri)
    elif _gone_on_elsewhere(folder, uri):
        folder = _from_mlflow(name, tracking_of(read_journal(folder)[0], uri).uri)
    found = _local(folder)
    process = last_process(read_journal(folder))
    if in_use(folder):
        raise UserError(f"resume={name}: is still alive{where(process)}; it can be resumed when it has ended")
    beat = folder / "heartbeat"
    if found.status == "RUNNING" and process is not None and not process.on_this_host and beat.is_file():
        refuse_if_alive(name, process, time.time() - beat.stat().st_mtime)  # a shared folder without locks
    found.config.tracking = replace(tracking_of(read_journal(folder)[0], uri), run_name=found.config.tracking.run_name)
    return found


def find_same(fingerprint: str, experiment: str, store: Store | None) -> Finished | Resumable | None:
    """A run with this fingerprint in an experiment: a finished one before an interrupted one, the newest of each.

    Runs that are alive, that failed, or whose checkpoints are on another machine are passed over.

    Args:
        store: None while it does not answer; only this machine is searched then.
    """
    folders = [folder for folder in local_runs() if _matches(begin_of(folder), fingerprint, experiment)]
    if (tracked := runs_with_fingerprint(fingerprint, store)) is not None:
        for run in tracked:
            if run.info.status == "FINISHED" and SCORE in run.data.metrics:
                return Finished(str(run.info.run_id), dict(run.data.metrics))
        tags = {run.info.run_id: run.data.tags for run in tracked}
        # One that was deleted in MLflow is no longer wanted, and one that went on elsewhere has its checkpoints there.
        folders = [
            folder
            for folder in folders
            if (id := local_id(folder)) is None or (id in tags and is_current(read_journal(folder), tags[id]))
        ]
    for folder in folders:
        if finished := _finished(local_id(folder) or folder.name, folder):
            return finished
    interrupted = (folder for folder in folders if status_of(read_journal(folder)) == "KILLED")
    return next((_local(folder) for folder in interrupted if not in_use(folder)), None)


def check_unchanged(run: Resumable, config: Config) -> None:
    """Nothing but the number of epochs, and what may change, may be another than it was.

    With more epochs it is a new run, which may stop early by another rule.

    Raises:
        UserError: with a line for each key that is.
    """
    before, after = flatten(run.config), flatten(config)
    longer = ("early_stopping",) if config.epochs != run.config.epochs else ()
    faults = [
        f"{key}={after[key]}: it is {before[key]} in run {run.name}, and a resumed run is the same run; only epochs "
        "(as a new run), tracking.* and where the data lie may change. A new run with other settings: rerun=<run id>"
        for key in after
        if after[key] != before[key] and not key.startswith((*MAY_CHANGE, "epochs", *longer))
    ]
    if faults:
        raise UserError(*faults)


def finished_already(run: Resumable) -> Finished | None:
    """The result of a run that has one."""
    return _finished(run.name, run.folder)


def reopen(run: Resumable, config: Config, data_digest: str) -> TrackedRun:
    """The run again, to be continued under its own name.

    Raises:
        UserError: its data have changed, or another process has it.
    """
    _check_data(run, data_digest)
    try:
        return TrackedRun(Journal(run.folder), config.tracking)
    except Busy as error:
        raise UserError(f"resume={run.name}: another process continues it already") from error


def check_initial(run: Resumable, initial_sha256: str | None) -> None:
    """What a run without a checkpoint begins with again must be what it began with.

    Raises:
        UserError: it is not.
    """
    if run.initial_sha256 != initial_sha256:
        raise UserError(
            f"resume={run.name}: has no checkpoint yet, and what it started from (init_from, model.encoder_weights) is "
            f"not what it was (SHA-256 {run.initial_sha256}, now {initial_sha256}): it cannot go on as the same run"
        )


def take_over(run: Resumable, config: Config, data_digest: str, checkpoints: Path) -> ResumePoint:
    """Give a new and longer run the newest checkpoint of this one, which is returned.

    Raises:
        UserError: its data have changed, it has no whole checkpoint, was trained longer already, or stops at once.
    """
    _check_data(run, data_digest)
    start, notes = newest_resume_point(run.folder / "checkpoints")
    if start is None:
        raise UserError(f"resume={run.name}: has no whole checkpoint in {run.folder / 'checkpoints'}", *notes)
    if start.state.epoch >= config.epochs:
        raise UserError(
            f"epochs={config.epochs}: run {run.name} has trained {start.state.epoch} epochs; more than that expected"
        )
    if start.state.is_over(config):
        raise UserError(
            f"early_stopping={config.early_stopping}: run {run.name} ended by it after epoch {start.state.epoch}; "
            f"more, or null, expected beside epochs={config.epochs}"
        )
    folders = [start.folder]
    if start.state.best is not None:
        folders.append(best_folder(run.folder / "checkpoints", start.state.best.epoch))
    checkpoints.mkdir(parents=True)
    for folder in folders:
        copy_folder(folder, checkpoints / folder.name)
    return start


def _check_data(run: Resumable, digest: str) -> None:
    if run.data_digest not in (None, digest):
        raise UserError(
            f"resume={run.name}: its data are not what they were when it began (digest {run.data_digest}, now "
            f"{digest}): it cannot go on as the same run; rerun={run.name} names the images that changed"
        )


def refuse_if_alive(name: str, process: Process | None, silent: float) -> None:
    """A run that is RUNNING may be alive: here, where its process can be looked up, or elsewhere, where it beats.

    Args:
        silent: seconds since it was heard of.

    Raises:
        UserError: it is, or may be.
    """
    if process is not None and (process.is_alive if process.on_this_boot else silent < STALE_AFTER):
        raise UserError(
            f"resume={name}: is still alive{where(process)}, heard of {max(0, silent):.0f} s ago; "
            "it can be resumed when it has ended"
        )


def _from_mlflow(name: str, uri: str | None) -> Path:
    """The folder of a run with which another machine was the last to work, made here."""
    stored = open_run(name, uri, "resume")
    with stored.folder:
        key = stored.tags.get("run_key", "")
        if not re.fullmatch("[0-9a-f]{32}", key):  # it becomes a folder's name
            raise UserError(f"resume={name}: has no run_key of this program")
        folder = RUNS / key
        if not is_current(read_journal(folder), stored.tags):
            if stored.run.info.status == "RUNNING":
                refuse_if_alive(name, Process.read(stored.tags), silence(stored.tags))
            adopt(stored, folder, uri)
    return folder


def _gone_on_elsewhere(folder: Path, uri: str | None) -> bool:
    """Whether another machine has gone on with a run that is here and not alive, if its store answers."""
    records, id = read_journal(folder), local_id(folder)
    if id is None or in_use(folder) or IS_SWEEP in records[0]["tags"]:
        return False
    run = run_if_it_answers(id, tracking_of(records[0], uri).uri)
    return run is not None and run.data.tags.get("run_key") == folder.name and not is_current(records, run.data.tags)


def _local(folder: Path) -> Resumable:
    records = read_journal(folder)
    if IS_SWEEP in records[0]["tags"]:
        raise UserError(f"resume={local_id(folder) or folder.name}: is a sweep; its command, typed again, continues it")
    config = parse_config(records[0]["config"], f"{folder}: the journal's configuration")
    id, tags = local_id(folder) or folder.name, records[0]["tags"]
    return Resumable(
        id, config, folder, status_of(records), tags.get("data_digest"), tags.get("initial_weights_sha256")
    )


def _finished(id: str, folder: Path) -> Finished | None:
    records = read_journal(folder)
    metrics = last_values(history_of(records))
    return Finished(id, metrics) if status_of(records) == "FINISHED" and SCORE in metrics else None


def _matches(begin: Record | None, fingerprint: str, experiment: str) -> bool:
    return begin is not None and begin["tags"].get("fingerprint") == fingerprint and begin["experiment"] == experiment
