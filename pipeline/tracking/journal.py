"""A run's own record of all that it tracks: one file, only ever appended to, written before anything is sent to MLflow.

`mlruns/runs/<run_key>/journal.jsonl` holds one JSON object a line (see `pipeline.tracking.records`): the configuration
first, before the run exists in MLflow, then parameters, metrics, tags and the names of files in the order in which they
were logged. The process that writes it holds the lock next to it, so a journal that can be locked has no living writer.
"""

import math
import os
import threading
import time
from pathlib import Path
from typing import TypeVar

from pipeline.runtime.errors import RunFailed
from pipeline.runtime.files import try_lock, write_atomic
from pipeline.tracking.outbox import Outbox
from pipeline.tracking.records import (
    Artifacts,
    Begin,
    Images,
    Metrics,
    Model,
    Record,
    WithFiles,
    history_of,
    parse_lines,
    status_of,
    to_line,
)

FILE, LOCK, OUTBOX, RESERVE = "journal.jsonl", "lock", "outbox", "reserve"
RESERVED = 65536  # bytes: more than the last two records take, which say why and how a run ended

R = TypeVar("R", bound=Record)


class Journal:
    """The journal of one run, locked by this process until it is closed. Several threads may append at once.

    Attributes:
        folder: the run's folder.
        records: all records, the oldest first.
        outbox: the files that wait to be sent.
        appended: notified after each record; whoever sends records waits for it.
    """

    def __init__(self, folder: Path) -> None:
        """Open the journal in a run's folder; folder and file are made if they are missing.

        Raises:
            Busy: another process has it open.
        """
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = try_lock(folder / LOCK)
        self.path = folder / FILE
        self.path.touch()
        self.records, self._ends = parse_lines(self.path.read_bytes())
        self._file = self.path.open("r+b", buffering=0)
        self._file.truncate(self._ends[-1])  # removes the line that the last process was writing when it died
        self._logged = {(key, record.step) for record in self.of(Metrics) for key in record.values}
        self.appended = threading.Condition(threading.RLock())
        self.outbox = Outbox(folder / OUTBOX)
        self.outbox.remove_all_except({record.parcel for record in self.of(WithFiles)})

    @property
    def begin(self) -> Begin:
        """The first record: what the run is."""
        first = self.records[0]
        assert isinstance(first, Begin)
        return first

    @property
    def status(self) -> str:
        """How the run ended: FINISHED, FAILED or KILLED; RUNNING if nothing says that it did."""
        return status_of(self.records)

    def of(self, kind: type[R]) -> list[R]:
        """The records of one kind, the oldest first."""
        return [record for record in list(self.records) if isinstance(record, kind)]

    def history(self) -> dict[str, dict[int, float]]:
        """Every metric as {step: value}."""
        return history_of(list(self.records))

    def reserve(self) -> None:
        """Reserve the room that the last records of this process will need if the disk is full by then.

        Raises:
            RunFailed: the disk is full already.
        """
        place = self.folder / RESERVE
        try:
            write_atomic(place, os.urandom(RESERVED))  # random, so that no file system can compress it
        except OSError as error:
            raise RunFailed(f"{place}: cannot be written: {error.strerror}") from error

    def release(self) -> None:
        """Release the reserved room for the last records."""
        (self.folder / RESERVE).unlink(missing_ok=True)

    def append(self, record: Record) -> None:
        """Write a record to the disk.

        Raises:
            RunFailed: it cannot be written; the journal is unchanged.
        """
        line = to_line(record)
        with self.appended:
            known = len(self.records)
            try:
                self._write(line, self._ends[known])
                self._ends[known + 1 :] = [self._ends[known] + len(line)]
                self.records.append(record)  # from here on it counts as logged, even if an interrupt comes next
            except BaseException as error:  # a full disk, or an interrupt
                if len(self.records) == known:
                    self._file.truncate(self._ends[known])
                if isinstance(error, OSError):
                    raise RunFailed(f"{self.path}: cannot be written: {error.strerror}") from error
                raise
            self.appended.notify_all()

    def append_metrics(self, values: dict[str, float], step: int, time: int | None = None) -> None:
        """Write metrics of one step. A metric that has a value at this step already keeps that value.

        NaN, as the IoU of a class that does not occur, is left out.

        Args:
            time: at which they were logged, in milliseconds since the epoch; None: now.
        """
        with self.appended:
            new = {
                key: float(value)
                for key, value in values.items()
                if (key, step) not in self._logged and not math.isnan(value)
            }
            if new:
                self.append(Metrics(step, new) if time is None else Metrics(step, new, time=time))
                self._logged |= {(key, step) for key in new}

    def copy_artifacts(self, folder: Path, place: str) -> None:
        """Log a folder's files as artifacts under `place`. The folder stays; its files must not change from now on.

        Raises:
            RunFailed: it cannot be written.
        """
        parcel = self._new_parcel()
        self.outbox.copy(folder, parcel)
        self._append_artifacts(Artifacts(parcel, place))

    def move_artifacts(self, folder: Path, place: str) -> None:
        """Log a folder's files as artifacts under `place`. The folder is moved into the outbox.

        Raises:
            RunFailed: it cannot be written.
        """
        parcel = self._new_parcel()
        self.outbox.move(folder, parcel)
        self._append_artifacts(Artifacts(parcel, place))

    def move_images(self, folder: Path, split: str, step: int, keys: list[str], time: int) -> None:
        """Log images of a split at a step. Their folder is moved into the outbox.

        Args:
            time: milliseconds since the epoch, which the names of the files have, too.

        Raises:
            RunFailed: it cannot be written.
        """
        size = sum(path.stat().st_size for path in folder.iterdir())
        parcel = self._new_parcel()
        self.outbox.move(folder, parcel)
        self.append(Images(parcel, split, step, size, keys, time=time))

    def move_model(self, folder: Path, step: int) -> None:
        """Log a model that `mlflow.pyfunc.save_model` wrote. Its folder is moved into the outbox.

        Args:
            step: the epoch that its weights are of.

        Raises:
            RunFailed: it cannot be written.
        """
        parcel = self._new_parcel()
        self.outbox.move(folder, parcel)
        outdated = [model.parcel for model in self.of(Model)]
        self.append(Model(parcel, step))
        for former in outdated:
            self.outbox.remove(former)

    def close(self) -> None:
        """Let another process open it."""
        self._file.close()
        self._lock.release()

    def _new_parcel(self) -> str:
        return f"{len(self.records)}-{time.time_ns()}"

    def _append_artifacts(self, artifacts: Artifacts) -> None:
        """Append the record of a parcel; former parcels for the same place go, since only the newest is wanted."""
        outdated = [former.parcel for former in self.of(Artifacts) if former.place == artifacts.place]
        self.append(artifacts)
        for former in outdated:
            self.outbox.remove(former)

    def _write(self, line: bytes, end: int) -> None:
        """Write a line after the complete ones, over whatever an interrupt may have left there."""
        self._file.truncate(end)
        self._file.seek(end)
        while line:
            line = line[self._file.write(line) :]  # on a disk that is nearly full only a part is written
        os.fsync(self._file.fileno())


def read_journal(folder: Path) -> list[Record]:
    """The complete records of a run's journal, read without its lock; empty if there is no journal."""
    path = folder / FILE
    return parse_lines(path.read_bytes())[0] if path.is_file() else []
