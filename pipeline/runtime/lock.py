"""One process at a time makes what several want."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from pipeline.runtime.errors import UserError
from pipeline.runtime.progress import Progress, silent


@contextlib.contextmanager
def locked(path: Path, progress: Progress = silent) -> Iterator[None]:
    """Holds the lock beside `path`; the operating system lets go of it when the process ends, however it ends.

    The lock's file stays there: removing it would let two processes hold two files.

    Raises:
        UserError: its folder cannot be written, or is on a file system without locks.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.with_name(f".{path.name}.lock").open("w")
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); set another data_dir") from error
    with lock:
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress("waiting for another process that prepares the same data", 0, None)
                fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError as error:
            raise UserError(f"{path}: its file system has no locks ({error.strerror}); set another data_dir") from error
        yield
