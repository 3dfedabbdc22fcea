"""What a run is on this machine: its folder, names and state, who works on it, and whether its newest state is here.

Each run has a folder `mlruns/runs/<run_key>/`, which any process may read; the process that works on the run holds the
lock in it. The run's tags in MLflow name the process that worked on it last. If the journal does not know that process,
another machine has resumed the run, and its newest state is in the store.
"""

import json
import math
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.entities import Run

from pipeline.config.addresses import HOME, LOCAL, database_file, tracking_uri
from pipeline.config.environment import TRACKING_URI, variable
from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import Busy, try_lock, write_atomic
from pipeline.runtime.process import STALE_AFTER, Process
from pipeline.runtime.text import mask_credentials
from pipeline.tracking.journal import FILE, LOCK, read_journal
from pipeline.tracking.records import Begin, ProcessStarted, Record, Status, parse_lines, status_of
from pipeline.tracking.search import deletion, get_run
from pipeline.tracking.store import Unreachable, answering, connect

RUNS = HOME / "runs"
POSITION, HEARTBEAT_FILE = "sent.json", "heartbeat"  # files in a run's folder


@dataclass(frozen=True)
class RunRef:
    """A run by its folder, which may be missing. Everything is read when it is asked for: other processes write it."""

    folder: Path

    @staticmethod
    def of(key: str) -> "RunRef":
        """The run with this key."""
        return RunRef(RUNS / key)

    @property
    def key(self) -> str:
        """The uuid that names the run's folder, and the run's tag `run_key` in MLflow."""
        return self.folder.name

    @property
    def run_id(self) -> str | None:
        """MLflow's id; None until MLflow has given one."""
        return read_position(self.folder)[0]

    @property
    def name(self) -> str:
        """What a person types: MLflow's id or, until there is one, the key."""
        return self.run_id or self.key

    @property
    def is_here(self) -> bool:
        """Whether the run has a journal on this machine."""
        return (self.folder / FILE).is_file()

    @property
    def in_use(self) -> bool:
        """Whether a living process has the journal open; it need not be on this machine."""
        if not self.folder.is_dir():
            return False
        try:
            try_lock(self.folder / LOCK).release()
        except Busy:
            return True
        return False

    def records(self) -> list[Record]:
        """The records of the journal, the oldest first; empty if there is no journal."""
        return read_journal(self.folder)

    def begin(self) -> Begin | None:
        """The first record, read alone; None if there is none yet."""
        if not self.is_here:
            return None
        with (self.folder / FILE).open("rb") as file:
            records, _ = parse_lines(file.readline())
        return records[0] if records and isinstance(records[0], Begin) else None

    def has_ended(self) -> bool:
        """Whether the last record says how the run ended, judged by the last bytes alone."""
        with (self.folder / FILE).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 200))
            last = file.read().splitlines(keepends=True)[-1:]
        records, _ = parse_lines(last[0] if last else b"")
        return bool(records) and isinstance(records[0], Status)

    def status(self) -> str:
        """How the run ended: FINISHED, FAILED or KILLED; RUNNING if nothing says that it did."""
        return status_of(self.records())

    def unsent(self) -> int:
        """How many records MLflow may not have yet: all, if more were sent than there are, as after a disk failure."""
        records, sent = len(self.records()), read_position(self.folder)[1]
        return records - sent + len(read_deferred(self.folder)) if sent <= records else records

    def owner(self) -> Process | None:
        """The process that worked on the run last, as far as the journal knows."""
        started = [record for record in self.records() if isinstance(record, ProcessStarted)]
        return started[-1].owner if started else None

    def silence(self) -> float:
        """Seconds since the heartbeat file was touched; infinite without one."""
        try:
            return time.time() - (self.folder / HEARTBEAT_FILE).stat().st_mtime
        except FileNotFoundError:
            return math.inf

    def resumed_elsewhere(self, tags: Mapping[str, str]) -> bool:
        """Whether another machine has resumed the run since a process here worked on it last.

        Args:
            tags: of the run in MLflow.
        """
        return owner_elsewhere(self.records(), tags) is not None

    def is_current(self, tags: Mapping[str, str]) -> bool:
        """Whether the newest state of the run is here: it has a journal, and was not resumed elsewhere.

        Args:
            tags: of the run in MLflow.
        """
        return bool(self.records()) and not self.resumed_elsewhere(tags)

    def in_store(self, uri: str | None) -> "InStore | None":
        """The run as MLflow has it; None if MLflow does not have it, or does not answer.

        Raises:
            UserError: the address is wrong, or what answers is not MLflow.
        """
        run_id, address = self.run_id, tracking_uri(uri)
        database = database_file(address)
        if run_id is None or (database is not None and not database.is_file()):
            return None
        try:
            with answering(address):
                client = connect(address)
                run = get_run(client, run_id)
                if run is None or run.data.tags.get("run_key") != self.key:
                    return None
                experiment = client.get_experiment(run.info.experiment_id).name
                return InStore(run, experiment, deletion(client, run))
        except Unreachable:
            return None


@dataclass(frozen=True)
class InStore:
    """A run of this machine as MLflow has it."""

    run: Run
    experiment: str  # its present name
    deletion: str | None  # that it was deleted, and what restores it


def owner_elsewhere(records: Sequence[Record], tags: Mapping[str, str]) -> Process | None:
    """The process that worked on a run last according to MLflow; None if the journal knows it.

    A journal knows the processes that wrote it and, in the tags of its first record, the one that worked on a run
    before it was restored from MLflow.

    Args:
        records: of the journal.
        tags: of the run in MLflow.
    """
    known = [record.owner for record in records if isinstance(record, ProcessStarted)]
    known += [Process.read(record.tags) for record in records[:1] if isinstance(record, Begin)]
    process = Process.read(tags)
    return None if process in known else process


def is_alive(process: Process | None, silent: float) -> bool:
    """Whether the process of a run that is RUNNING lives: looked up if it can be, else judged by the heartbeat.

    Args:
        silent: seconds since the last heartbeat.
    """
    return process.is_alive if process is not None and process.on_this_boot else silent < STALE_AFTER


def silence(tags: Mapping[str, str]) -> float:
    """Seconds since the last heartbeat in a run's tags in MLflow; infinite without one."""
    try:
        return time.time() - float(tags["heartbeat"])
    except (KeyError, ValueError):
        return math.inf


def tracking_of(begin: Begin, uri: str | None) -> TrackingConfig:
    """Where the records of a journal are sent.

    Args:
        begin: its first record.
        uri: the address that was given; None for the recorded one.

    Raises:
        UserError: the recorded address had a password, which no journal stores, and no address is given.
    """
    address = uri if uri is not None else _recorded(begin)
    if "***" in address:
        raise UserError(f"tracking.uri={address}: the journal does not store the password; give the whole address")
    return TrackingConfig(uri=address, experiment=begin.experiment)


def _recorded(begin: Begin) -> str:
    """The address that a run was started with, whatever the environment says now.

    The environment may have the password of that address. An address in a folder that was moved, as older versions
    recorded the default one, is that of the database here.
    """
    address, given = begin.tracking_uri or LOCAL, variable(TRACKING_URI)
    if given is not None and "***" in address and mask_credentials(given) == address:
        return given
    file, here = database_file(address), database_file(tracking_uri(LOCAL))
    if file is not None and here is not None and file.parts[-2:] == here.parts[-2:] and not file.exists():
        return LOCAL
    return address


def same_address(begin: Begin, uri: str | None) -> bool:
    """Whether the records of a journal are sent to this tracking address; passwords are not compared.

    Args:
        begin: its first record.
        uri: as given; None for the default.
    """
    return mask_credentials(tracking_uri(uri)) == mask_credentials(tracking_uri(_recorded(begin)))


def read_position(folder: Path) -> tuple[str | None, int]:
    """MLflow's id of a run, and how many of its records MLflow has, as far as its folder says so.

    Records that are sent again change nothing.
    """
    try:
        position = json.loads((folder / POSITION).read_text())
        return position["run_id"] and str(position["run_id"]), int(position["records"])
    except (OSError, ValueError, KeyError, TypeError):
        return None, 0


def read_deferred(folder: Path) -> list[int]:
    """The numbers of the records before that position whose files MLflow could not store; they wait in the outbox."""
    try:
        return [int(number) for number in json.loads((folder / POSITION).read_text())["deferred"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def write_position(folder: Path, run_id: str | None, records: int, deferred: Collection[int] = ()) -> None:
    """Store in a run's folder that MLflow has so many of its records, under this id.

    It is written for every record, and losing it in a power cut only repeats what was sent: it is not flushed.

    Args:
        deferred: see `read_deferred`.
    """
    position = {"run_id": run_id, "records": records, **({"deferred": sorted(deferred)} if deferred else {})}
    write_atomic(folder / POSITION, json.dumps(position), flushed=False)
