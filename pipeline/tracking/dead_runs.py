"""Runs whose process died silently, by SIGKILL or a power cut: they are marked as KILLED, here and in MLflow."""

import contextlib
from collections.abc import Collection

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.files import Busy
from pipeline.runtime.process import STALE_AFTER, Process
from pipeline.runtime.text import plain
from pipeline.tracking.delivery import send_if_possible
from pipeline.tracking.journal import Journal
from pipeline.tracking.local_runs import find_local, local_runs
from pipeline.tracking.memory_deaths import probably_out_of_memory
from pipeline.tracking.records import Status, Tags
from pipeline.tracking.run_ref import RunRef, same_address, silence
from pipeline.tracking.search import search_runs
from pipeline.tracking.store import Store
from pipeline.tracking.sweep_runs import IS_SWEEP


def mark_dead_runs(tracking: TrackingConfig, store: Store | None) -> list[str]:
    """Mark every dead run of this machine as KILLED; runs that are alive are left alone.

    Args:
        store: None if it does not answer; the journals are then sent later.

    Returns:
        The names of the runs that were marked.
    """
    marked = [run.name for run in local_runs() if _mark(run, tracking, store)]
    if store is not None:
        # A server that fails now may answer at the next start; this one continues without it.
        with contextlib.suppress(MlflowException, SQLAlchemyError, OSError):
            marked += _mark_in_store(store, marked)
    return marked


def how_to_continue(name: str) -> str:
    """What continues a run that was marked, for the message that says so.

    Args:
        name: MLflow's id of the run, or its key.
    """
    run = find_local(name)
    begin = None if run is None else run.begin()
    if begin is not None and IS_SWEEP in begin.tags:
        return "the command of this sweep, typed again, continues it"
    return f"resume={name} continues it"


def _mark(run: RunRef, tracking: TrackingConfig, store: Store | None) -> bool:
    """Mark a run that is dead; False if it is not, if another process was faster, or if it is another user's."""
    if run.has_ended():
        return False
    owner = run.owner()
    # Without an owner the process died between the journal's first two lines; while it writes them it holds the lock.
    if owner is not None and (not owner.on_this_host or owner.is_alive):
        return False
    try:
        journal = Journal(run.folder)
    except (Busy, PermissionError):  # this user may not write another's run, which that user's next start marks
        return False
    with contextlib.closing(journal):
        if journal.status != "RUNNING":
            return False
        if probably_out_of_memory(run.folder):
            journal.append(Tags({"failure": "its process was killed, probably for want of memory"}))
        journal.append(Status("KILLED"))
        if store is not None and same_address(journal.begin, tracking.uri):
            send_if_possible(journal, tracking.uri)
        return True


def _mark_in_store(store: Store, known: Collection[str]) -> list[str]:
    """Mark dead runs of this machine whose folder is not here: it is in another directory, or was removed.

    Another machine may have this one's name, so a run that had a heartbeat lately is left alone.

    Args:
        known: the names of runs that are marked already.
    """
    client, marked = mlflow.MlflowClient(store.uri), []
    local = {run.key for run in local_runs()}
    for run in list(search_runs(client, [store.experiment_id], "attributes.status = 'RUNNING'")):
        tags, run_id = run.data.tags, str(run.info.run_id)
        process = Process.read(tags)
        if process is None or tags.get("run_key") in local or run_id in known:
            continue
        if process.on_this_host and not process.is_alive and silence(tags) > STALE_AFTER:
            client.set_terminated(run_id, "KILLED")
            marked.append(plain(run_id))
    return marked
