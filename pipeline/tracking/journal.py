"""A run's own record of all it tracks: one file, only ever appended to, written before anything is sent to MLflow.

`mlruns/runs/<run_key>/journal.jsonl` holds one JSON object a line: the configuration first, before the MLflow run
exists, then parameters, metrics, tags and the names of files in the order in which they came. Whoever writes it holds
the lock beside it, so a journal that can be locked belongs to no process that lives.
"""

import fcntl
import json
import math
import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from pipeline.runtime.errors import RunFailed
from pipeline.runtime.files import flush

Record = dict[str, Any]  # {"kind": …, "time": milliseconds since the epoch, …}
FILE, LOCK, OUTBOX, RESERVE = "journal.jsonl", "lock", "outbox", "reserve"
RESERVED = 65536  # bytes: more than the last two records take, which tell why and how a run ended


class Busy(Exception):
    """Another process writes this journal."""


class Journal:
    """The journal of one run, locked by this process until it is closed. Threads may append at once."""

    def __init__(self, folder: Path) -> None:
        """Open the journal of a run's folder; folder and file are made when they are not there.

        Raises:
            Busy: another process has it.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = locked(folder / LOCK)
        self.path = folder / FILE
        self.path.touch()
        self.records, self._ends = _whole_records(self.path.read_bytes())
        self._file = self.path.open("r+b", buffering=0)
        self._file.truncate(self._ends[-1])  # cuts off the line that the last process died in
        self._told = {(key, record["step"]) for record in self.of("metrics") for key in record["values"]}
        self.appended = threading.Condition(threading.RLock())  # whoever sends waits for it
        self._sweep_outbox()

    def of(self, kind: str) -> Iterator[Record]:
        """The records of one kind, the oldest first."""
        return (record for record in list(self.records) if record["kind"] == kind)

    @property
    def status(self) -> str:
        """How the run ended: FINISHED, FAILED or KILLED; RUNNING where nothing says that it did."""
        return status_of(self.records)

    def reserve(self) -> None:
        """Take room on the disk that the last words of this process will need, should the disk be full by then.

        Raises:
            RunFailed: there is none.
        """
        place = self.folder / RESERVE
        try:
            with place.open("wb") as file:
                file.write(os.urandom(RESERVED))  # what no file system can make smaller
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise RunFailed(f"{place}: cannot be written: {error.strerror}") from error

    def release(self) -> None:
        """Give the reserved room back, as the last words come next."""
        (self.folder / RESERVE).unlink(missing_ok=True)

    def append(self, kind: str, **content: Any) -> None:
        """Write a record, to the disk.

        Raises:
            RunFailed: it cannot be written; the journal is as it was before.
        """
        record = {"kind": kind, "time": int(time.time() * 1000), **content}
        line = json.dumps(record).encode() + b"\n"
        with self.appended:
            known = len(self.records)
            try:
                self._write(line, self._ends[known])
                self._ends[known + 1 :] = [self._ends[known] + len(line)]
                self.records.append(record)  # from here on it is told, even where an interrupt comes next
            except BaseException as error:  # a full disk, or an interrupt
                if len(self.records) == known:
                    self._file.truncate(self._ends[known])
                if isinstance(error, OSError):
                    raise RunFailed(f"{self.path}: cannot be written: {error.strerror}") from error
                raise
            self.appended.notify_all()

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Write metrics of one step, but those that this step has already: what is told is never told again.

        A value that is NaN, as of a class that does not occur, is left out.
        """
        with self.appended:
            new = {
                key: float(value)
                for key, value in values.items()
                if (key, step) not in self._told and not math.isnan(value)
            }
            if new:
                self.append("metrics", step=step, values=new)
                self._told |= {(key, step) for key in new}

    def post(self, folder: Path, kind: str, keep: bool, **content: Any) -> None:
        """Put a folder's files into the outbox, where they stay as they are until they are sent.

        What lies there for the same place takes no room any longer: of checkpoints, only the newest is wanted.

        Args:
            keep: whether the folder stays too; its files must then never change, since both share them.

        Raises:
            RunFailed: it cannot be written.
        """
        parcel = f"{len(self.records)}-{time.time_ns()}"
        place = self.folder / OUTBOX / parcel
        try:
            place.parent.mkdir(exist_ok=True)
            if keep:
                shutil.copytree(folder, place, copy_function=_link)
            else:
                folder.rename(place)
            for path in (*place.rglob("*"), place, place.parent):  # before the record that promises them
                flush(path)
        except OSError as error:
            # `copytree` tells all that went wrong as a list of (file, copy, reason).
            reason = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror
            raise RunFailed(f"{place}: cannot be written: {reason}") from error
        outdated = [record["parcel"] for record in self.of(kind) if record.get("place") == content.get("place")]
        self.append(kind, parcel=parcel, **content)
        for former in outdated:
            shutil.rmtree(self.folder / OUTBOX / former, ignore_errors=True)

    def history(self) -> dict[str, dict[int, float]]:
        """Every metric as {step: value}."""
        return history_of(self.records)

    def close(self) -> None:
        """Let another process have it."""
        self._file.close()
        self._lock.close()

    def _write(self, line: bytes, end: int) -> None:
        """Write a line at the end of the whole ones, in the place of what an interrupt may have left there."""
        self._file.truncate(end)
        self._file.seek(end)
        while line:
            line = line[self._file.write(line) :]  # on a disk that is nearly full only a part is written
        os.fsync(self._file.fileno())

    def _sweep_outbox(self) -> None:
        """Remove what a process put there and died before it wrote so."""
        named = {record["parcel"] for record in self.records if "parcel" in record}
        for parcel in (self.folder / OUTBOX).glob("*"):
            if parcel.name not in named:
                shutil.rmtree(parcel)


def read_journal(folder: Path) -> list[Record]:
    """The whole records of a run's journal, without locking it; empty where there is none."""
    path = folder / FILE
    if not path.is_file():
        return []
    return _whole_records(path.read_bytes())[0]


def begin_of(folder: Path) -> Record | None:
    """The first record of a run's journal, which has its configuration; None where a process died before it."""
    with (folder / FILE).open("rb") as file:
        records, _ = _whole_records(file.readline())
    return records[0] if records else None


def says_its_end(folder: Path) -> bool:
    """Whether the journal's last record is how the run ended, told from its last bytes alone."""
    with (folder / FILE).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 200))
        last = file.read().splitlines(keepends=True)[-1:]
    records, _ = _whole_records(last[0] if last else b"")
    return bool(records) and records[0]["kind"] == "status"


def status_of(records: list[Record]) -> str:
    """FINISHED, FAILED or KILLED, or RUNNING where the last start of the run has no end."""
    for record in reversed(records):
        if record["kind"] == "status":
            return str(record["status"])
        if record["kind"] == "process":
            break
    return "RUNNING"


def history_of(records: list[Record]) -> dict[str, dict[int, float]]:
    """Every metric of a journal as {step: value}."""
    found: dict[str, dict[int, float]] = {}
    for record in records:
        if record["kind"] == "metrics":
            for key, value in record["values"].items():
                found.setdefault(key, {})[record["step"]] = value
    return found


def last_values(history: Mapping[str, Mapping[int, float]]) -> dict[str, float]:
    """The value of each metric at its last step."""
    return {name: values[max(values)] for name, values in history.items()}


def in_use(folder: Path) -> bool:
    """Whether a process that lives writes the journal of this folder; it need not be on this machine at all."""
    if not folder.is_dir():
        return False
    try:
        locked(folder / LOCK).close()
    except Busy:
        return True
    return False


def locked(path: Path) -> TextIO:
    """The lock of a run's folder, held until it is closed.

    Raises:
        Busy: another process has it.
    """
    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise Busy(str(path)) from error
    return file


def _whole_records(content: bytes) -> tuple[list[Record], list[int]]:
    """The records of a journal, and where each ends; the first of these numbers is where the first record begins.

    A line is on the disk before the next is begun, so only the last can be torn, or full of zeros after a power cut.
    """
    records, ends = [], [0]
    for line in content.splitlines(keepends=True):
        try:
            record = json.loads(line) if line.endswith(b"\n") else None
        except ValueError:
            break
        if not isinstance(record, dict) or "kind" not in record:
            break
        records.append(record)
        ends.append(ends[-1] + len(line))
    return records, ends


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(source, target)
