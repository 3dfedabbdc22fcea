"""Runs on this machine: found by name, and those whose process died without a word marked as KILLED."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from pipeline.config.addresses import tracking_uri
from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import STALE_AFTER, Process
from pipeline.runtime.text import mask_credentials, plain
from pipeline.tracking.delivery import Delivery, read_position
from pipeline.tracking.journal import FILE, Busy, Journal, Record, begin_of, read_journal, says_its_end
from pipeline.tracking.store import Store
from pipeline.tracking.tracked_run import RUNS


def local_runs() -> Iterator[Path]:
    """The folders of all runs under mlruns/ whose journal has begun, the newest first."""
    journals = [journal for journal in RUNS.glob(f"[!.]*/{FILE}") if begin_of(journal.parent) is not None]
    yield from (journal.parent for journal in sorted(journals, key=lambda path: -path.stat().st_mtime))


def find_local(name: str) -> Path | None:
    """The folder of the run with this run_key or MLflow id, if it is under mlruns/."""
    for folder in local_runs():
        if name == folder.name or name == local_id(folder):
            return folder
    return None


def local_id(folder: Path) -> str | None:
    """MLflow's id of a run under mlruns/, if it has got one."""
    return read_position(folder)[0]


def last_process(records: list[Record]) -> Process | None:
    """The process that last worked on a run."""
    started = [record for record in records if record["kind"] == "process"]
    return Process.read(started[-1]["process"]) if started else None


def mark_leftovers(tracking: TrackingConfig, store: Store | None) -> list[str]:
    """Mark as KILLED what SIGKILL or a power cut left RUNNING on this machine; whatever is alive is left alone.

    Args:
        store: None while it does not answer; the journals then say it to whoever sends them.

    Returns:
        The ids of the runs that were marked.
    """
    marked = []
    for folder in local_runs():
        if says_its_end(folder):
            continue
        records = read_journal(folder)
        process = last_process(records)
        # Without one it died between the journal's first two lines; whoever writes them holds the lock.
        if process is not None and (not process.on_this_host or process.is_alive):
            continue
        with contextlib.suppress(Busy):
            journal = Journal(folder)
            with contextlib.closing(journal):
                if journal.status != "RUNNING":  # another process was quicker
                    continue
                journal.append("status", status="KILLED")
                marked.append(local_id(folder) or folder.name)
                if store is not None and _same_store(records[0], tracking):
                    _send(journal, tracking)
    if store is not None:
        # A server that fails now may answer the next start; this one goes on without it.
        with contextlib.suppress(MlflowException, SQLAlchemyError, OSError):
            marked += _mark_in_store(store, known=marked)
    return marked


def send_rest(name: str, tracking: TrackingConfig) -> None:
    """Send what is left of a run that had ended when its process died; one that is alive sends for itself."""
    folder = find_local(name)
    if folder is not None and read_position(folder)[1] < len(read_journal(folder)):
        with contextlib.suppress(Busy), contextlib.closing(Journal(folder)) as journal:
            _send(journal, tracking)


def silence(tags: dict[str, str]) -> float:
    """Seconds since a run on a server was heard of; infinite for one that never was."""
    try:
        return time.time() - float(tags["heartbeat"])
    except (KeyError, ValueError):
        return float("inf")


def tracking_of(begin: Record, uri: str | None) -> TrackingConfig:
    """Where a journal is sent to.

    Raises:
        UserError: its address had a password, which no journal keeps, and none is given.
    """
    address = uri if uri is not None else begin["tracking_uri"]
    if address is not None and "***" in address:
        raise UserError(f"tracking.uri={address}: the journal keeps no password; give the whole address")
    return TrackingConfig(uri=address, experiment=begin["experiment"])


def _send(journal: Journal, tracking: TrackingConfig) -> None:
    """Send a journal; what cannot be sent now, for whatever reason, waits for `pipeline.sync`, which tells it."""
    with contextlib.suppress(Exception):
        delivery = Delivery(journal, tracking_of(journal.records[0], tracking.uri))
        while not delivery.done:
            delivery.send_next()


def _same_store(begin: Record, tracking: TrackingConfig) -> bool:
    recorded = begin["tracking_uri"] or tracking_uri(None)
    return bool(mask_credentials(tracking_uri(tracking.uri)) == mask_credentials(recorded))


def _mark_in_store(store: Store, known: list[str]) -> list[str]:
    """The same for runs of this machine whose folder is elsewhere: another directory, or one that was removed.

    Another machine may have this one's name, so a run that was heard of lately is left alone.
    """
    client, marked = mlflow.MlflowClient(store.uri), []
    local = {folder.name for folder in local_runs()}
    for run in client.search_runs([store.experiment_id], "attributes.status = 'RUNNING'"):
        process = Process.read(run.data.tags)
        if process is None or run.data.tags.get("run_key") in local or run.info.run_id in known:
            continue
        if process.on_this_host and not process.is_alive and silence(run.data.tags) > STALE_AFTER:
            client.set_terminated(run.info.run_id, "KILLED")
            marked.append(plain(str(run.info.run_id)))
    return marked
