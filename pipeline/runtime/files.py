"""Files that are complete or absent, locks between processes, and where this project's files are."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

PACKAGE = Path(__file__).resolve().parent.parent  # pipeline/
ROOT = PACKAGE.parent  # the project's folder: run.py, conf/, pipeline/
FLUSHES = 8  # at the same time
OUTDATED = ".outdated"  # suffix of a folder while another one replaces it


class Busy(Exception):
    """Another process holds the lock."""


def flush(path: Path) -> None:
    """Write the content of a file, or the names in a folder, to the disk (fsync)."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def flush_all(paths: Sequence[Path]) -> None:
    """`flush` files and folders at once: the file system then writes its own journal for many of them together.

    A hundred small files took 0.02 s instead of 0.3 s on ext4.
    """
    with ThreadPoolExecutor(FLUSHES, "flush") as threads:
        list(threads.map(flush, paths))


def write_atomic(path: Path, content: str | bytes, flushed: bool = True) -> None:
    """Write a file, and the folders that it is in: it is complete or absent whenever the process or the power ends.

    Several processes may write it at once: the last one wins, and nobody reads half a file.

    Args:
        flushed: False for a file that may be lost, or empty, after a power cut: that saves two waits for the disk.

    Raises:
        OSError: it cannot be written; a previous file is unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        hidden.write_bytes(content.encode() if isinstance(content, str) else content)
        if flushed:
            publish(hidden, path)
        else:
            hidden.replace(path)
    finally:
        hidden.unlink(missing_ok=True)


def publish(hidden: Path, target: Path) -> None:
    """Flush a file or folder that was written under a hidden name to the disk, then rename it.

    A file replaces a previous one. A folder can only get a name that is free, so a previous one is first renamed to
    `<name>.outdated` and removed at the end: at any instant, one of the two is complete.

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


def link_or_copy(path: Path, target: Path) -> None:
    """Give a file a second name; a copy of it on another file system, or where links are not allowed."""
    try:
        os.link(path.resolve() if path.is_symlink() else path, target)
    except OSError:
        shutil.copyfile(path, target)


def try_lock(path: Path) -> BaseFileLock:
    """Acquire the lock of a file without waiting. `release()` releases it, and so does the end of the process.

    The file is created if it is missing, and stays: if it were removed, two processes could lock two files.

    Raises:
        Busy: another process, or another part of this one, holds it.
        OSError: the file cannot be created, or its file system has no locks.
    """
    lock = _lock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise Busy(str(path)) from error
    return lock


@contextlib.contextmanager
def locked(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a file while the block runs. The file and its folder are created if they are missing.

    Args:
        on_wait: called once if another process holds the lock, before waiting for it.

    Raises:
        OSError: the file cannot be created, or its file system has no locks.
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
    # Where there is no flock, filelock would use a marker file, which outlives a process that is killed.
    return FileLock(path, thread_local=False, fallback_to_soft=False)
