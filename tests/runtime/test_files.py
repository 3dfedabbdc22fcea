"""Files that are complete or absent, and locks between processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.runtime import files
from pipeline.runtime.files import ROOT, Busy, locked, publish, try_lock, write_atomic

HOLDER = """
import sys; from pathlib import Path; from pipeline.runtime.files import try_lock
lock = try_lock(Path(sys.argv[1])); print("locked", flush=True); sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    """A process that holds the lock until its stdin is closed or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "locked\n"
    return process


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b.json"
    write_atomic(path, "first")
    write_atomic(path, b"second")
    assert path.read_bytes() == b"second" and names(path.parent) == ["b.json"]


def test_a_failed_write_leaves_the_previous_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    write_atomic(path, "first")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(path, "second")
    assert path.read_text() == "first" and names(tmp_path) == ["a"]


def test_a_folder_replaces_a_previous_one(tmp_path: Path) -> None:
    for content in ("first", "second"):
        hidden = tmp_path / ".folder"
        (hidden / "inner").mkdir(parents=True)
        (hidden / "inner" / "file").write_text(content)
        publish(hidden, tmp_path / "folder")
        assert (tmp_path / "folder/inner/file").read_text() == content and names(tmp_path) == ["folder"]


def test_killed_while_replacing_a_folder_one_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (".folder", "folder"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / ".folder", tmp_path / "folder")
    assert (tmp_path / "folder.outdated/file").read_text() == "folder"
    assert (tmp_path / ".folder/file").read_text() == ".folder"


def test_bytes_are_flushed_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    flush, replace = files.flush, Path.replace
    monkeypatch.setattr(files, "flush", lambda path: order.append(f"flush {path.name}") or flush(path))
    monkeypatch.setattr(Path, "replace", lambda old, new: order.append(f"rename {new.name}") or replace(old, new))
    write_atomic(tmp_path / "a", "content")
    assert order == [f"flush .a.{os.getpid()}", "rename a", f"flush {tmp_path.name}"]


def test_a_lock_is_busy_until_it_is_released(tmp_path: Path) -> None:
    lock = try_lock(tmp_path / "lock")
    with pytest.raises(Busy):
        try_lock(tmp_path / "lock")
    lock.release()
    try_lock(tmp_path / "lock").release()
    assert (tmp_path / "lock").is_file()  # if it were removed, two processes could lock two files


def test_a_lock_is_released_when_its_process_is_killed(tmp_path: Path) -> None:
    process = hold(tmp_path / "lock")
    with pytest.raises(Busy):
        try_lock(tmp_path / "lock")
    process.kill()
    process.communicate()
    try_lock(tmp_path / "lock").release()


def test_waiting_for_a_lock_is_notified_once(tmp_path: Path) -> None:
    process, waited = hold(tmp_path / "lock"), []

    def on_wait() -> None:
        waited.append(True)
        process.communicate()  # closes its stdin, which ends it

    with locked(tmp_path / "lock", on_wait):
        assert waited == [True]
    with locked(tmp_path / "lock", on_wait):
        assert waited == [True]


def test_a_file_system_without_locks_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", no_locks)
    with pytest.raises(OSError, match="not implemented"):
        try_lock(tmp_path / "lock")
