"""Files that are complete or absent, and locks between processes; and where this code lies."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

PACKAGE = Path(__file__).resolve().parent.parent  # pipeline/
ROOT = PACKAGE.parent  # the project's folder: run.py, conf/, pipeline/
OUTDATED = ".outdated"  # ends the name of a folder while another takes its place


class Busy(Exception):
    """Another process holds the lock."""


def flush(path: Path) -> None:
    """Have the content of a file, or the names in a folder, on the disk (fsync)."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file that is complete or absent, whenever the process or the power ends; folders are made.

    Several processes may write it at once: the last one wins, and nobody reads half a file.

    Raises:
        OSError: it cannot be written; what was there before is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        hidden.write_bytes(content.encode() if isinstance(content, str) else content)
        publish(hidden, path)
    finally:
        hidden.unlink(missing_ok=True)


def publish(hidden: Path, target: Path) -> None:
    """Give a file or folder that was written under a hidden name its own name, with all of its bytes on the disk.

    A file replaces the one of that name. A folder can only be renamed to a free name, so one that is there is moved
    aside to `<name>.outdated` first and removed at the end: at any instant one of the two is complete.

    Args:
        hidden: next to `target`, on the same file system.
    """
    parts = (*hidden.rglob("*"), hidden) if hidden.is_dir() else (hidden,)
    for part in parts:
        flush(part)
    outdated = target.with_name(target.name + OUTDATED)
    aside = hidden.is_dir() and target.exists()
    if aside:
        shutil.rmtree(outdated, ignore_errors=True)
        target.rename(outdated)
    hidden.replace(target)
    flush(target.parent)
    if aside:
        shutil.rmtree(outdated, ignore_errors=True)


def try_lock(path: Path) -> BaseFileLock:
    """Take the lock of a file at once; `release()` gives it back, and so does the end of the process, however it ends.

    The file is made where missing and stays: removing it would let two processes lock two files.

    Raises:
        Busy: another process, or another place of this one, holds it.
        OSError: the file cannot be made, or its file system has no locks.
    """
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Busy(str(path)) from error
    return lock


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a file; its folder is made.

    Args:
        on_wait: called once if another process holds it and this one has to wait.

    Raises:
        OSError: the file cannot be made, or its file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        lock = try_lock(path)
    except Busy:
        on_wait()
        lock = _lock(path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _lock(path: Path) -> BaseFileLock:
    # Without flock, a marker file would stand for the lock, and would outlive a process that is killed.
    return FileLock(path, thread_local=False, fallback_to_soft=False)
