"""A journal on a disk that is full, interrupted in the middle of a record, and the files that wait beside it."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runtime.errors import RunFailed
from pipeline.tracking import journal as module
from pipeline.tracking.journal import (
    Journal,
    read_journal,
    status_of,
)
from tests.tracking.test_journal import contents, reopened


class Interrupt(BaseException):
    pass


@pytest.mark.parametrize("place", ["before", "half", "written", "flushed"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Interrupt()])
def test_an_append_that_fails_leaves_the_journal_as_it_was(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    """At every instant between the first byte and the last flush: no half line, no line without a record."""
    journal.append("begin")
    before = journal.path.read_bytes()
    write, flush = type(journal)._write, os.fsync

    def failing_write(journal: Journal, line: bytes, end: int) -> None:
        if place == "before":
            raise error
        if place == "half":
            os.pwrite(journal._file.fileno(), line[: len(line) // 2], end)
            raise error
        write(journal, line, end)

    def failing_flush(file: int) -> None:
        if place == "flushed":
            flush(file)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_write", failing_write)
        patch.setattr(module.os, "fsync", failing_flush)
        expected = RunFailed if isinstance(error, OSError) else Interrupt
        with pytest.raises(expected) as told:
            journal.metrics({"a": 1.0}, step=1)
    if expected is RunFailed:
        assert str(told.value) == f"{journal.path}: cannot be written: No space left on device"
    assert journal.path.read_bytes() == before and len(journal.records) == 1
    journal.metrics({"a": 2.0}, step=1)  # was not told
    journal.append("status", status="KILLED")
    again = reopened(journal)
    assert [record["kind"] for record in again.records] == ["begin", "metrics", "status"]
    assert again.history() == {"a": {1: 2.0}}
    again.close()


def test_an_interrupt_right_after_the_record_is_told_keeps_it_in_the_file_and_in_memory(journal: Journal) -> None:
    """The numbers of records that were sent are counted in memory, and used by the process that reads the file."""

    class Interrupted(list):
        def append(self, record: object) -> None:
            super().append(record)
            raise Interrupt

    journal.append("begin")
    journal.records = Interrupted(journal.records)
    with pytest.raises(Interrupt):
        journal.append("params", values={})
    journal.records = list(journal.records)
    journal.append("status", status="KILLED")
    assert [record["kind"] for record in read_journal(journal.folder)] == ["begin", "params", "status"]
    assert read_journal(journal.folder) == journal.records


def test_a_second_interrupt_while_the_first_is_undone_spoils_nothing(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.append("begin")

    class File:
        """The file, of which the second call of `truncate` is interrupted too."""

        def __init__(self, file: object) -> None:
            self.file, self.calls = file, 0

        def __getattr__(self, name: str) -> object:
            return getattr(self.file, name)

        def truncate(self, size: int) -> None:
            self.calls += 1
            if self.calls == 2:
                raise Interrupt
            self.file.truncate(size)

    def interrupted(_file: int) -> None:
        raise Interrupt

    with monkeypatch.context() as patch, pytest.raises(Interrupt):
        patch.setattr(module.os, "fsync", interrupted)
        patch.setattr(journal, "_file", File(journal._file))
        journal.append("tags", values={"a long": "x" * 100})
    journal.append("status", status="KILLED")
    assert [record["kind"] for record in read_journal(journal.folder)] == ["begin", "status"]
    assert len(journal.path.read_bytes().splitlines()) == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 128 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"a small file system cannot be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_is_really_full_loses_nothing_and_appending_goes_on_when_it_is_not(small_disk: Path) -> None:
    journal = Journal(small_disk / "run")
    (small_disk / "filling").write_bytes(b"\0" * 90_000)
    with pytest.raises(RunFailed, match=r"journal\.jsonl: cannot be written: No space left on device"):
        for number in range(1000):
            journal.append("tags", number=number, values={"x": "y" * 1000})
    assert len(journal.records) > 5
    assert [record["number"] for record in read_journal(journal.folder)] == list(range(len(journal.records)))
    assert journal.path.read_bytes().endswith(b"\n")
    files = small_disk / "files"
    files.mkdir()
    (small_disk / "filling").unlink()
    (files / "large").write_bytes(b"\0" * 40_000)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RunFailed, match=r"cannot be written: .*No space left"):
        patch.setattr(module.os, "link", no_links)
        for _ in range(9):
            journal.post(files, "files", keep=True, place="x")
    (files / "large").unlink()
    journal.append("status", status="FAILED")
    journal.close()
    assert status_of(read_journal(journal.folder)) == "FAILED"


def test_the_last_words_have_room_on_a_full_disk(small_disk: Path) -> None:
    """Even the longest failure that is told, every character of it escaped, and the journal's last block full too."""
    journal = Journal(small_disk / "run")
    journal.reserve()
    with (small_disk / "filling").open("wb", buffering=0) as filling, pytest.raises(OSError, match="No space left"):
        while True:
            filling.write(bytes(512))
    with pytest.raises(RunFailed, match=r"journal\.jsonl: cannot be written: No space left on device"):
        for _ in range(100):
            journal.append("tags", values={"x": "y" * 60})
    again = Journal(small_disk / "other")
    with pytest.raises(RunFailed, match=r"other/reserve: cannot be written: No space left on device"):
        again.reserve()
    again.close()
    journal.release()
    journal.append("tags", values={"failure": "\u20ac" * 5000})
    journal.append("status", status="FAILED")
    journal.close()
    assert status_of(read_journal(journal.folder)) == "FAILED"
    assert not (journal.folder / "reserve").exists()


def no_links(*_: object) -> None:
    raise OSError(errno.EPERM, os.strerror(errno.EPERM))


# ---- files that wait to be sent


def folder_with(place: Path, **files: str) -> Path:
    for name, text in files.items():
        (place / "deep").mkdir(parents=True, exist_ok=True)
        (place / "deep" / name).write_text(text)
    return place


def test_a_folder_is_moved_to_the_outbox_or_shared_with_it(journal: Journal, tmp_path: Path) -> None:
    journal.post(folder_with(tmp_path / "moved", a="moved"), "files", keep=False, place="p/q")
    journal.post(folder_with(tmp_path / "kept", a="kept"), "model", keep=True)
    moved, kept = (journal.folder / "outbox" / record["parcel"] for record in journal.records)
    assert not (tmp_path / "moved").exists() and (moved / "deep/a").read_text() == "moved"
    assert (kept / "deep/a").samefile(tmp_path / "kept/deep/a")  # takes no room
    assert contents(journal.records)[0] == {"kind": "files", "place": "p/q", "parcel": moved.name}
    (tmp_path / "kept/deep/a").unlink()  # as an old checkpoint is
    assert (kept / "deep/a").read_text() == "kept"


def test_files_are_copied_where_the_file_system_has_no_links(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.os, "link", no_links)
    journal.post(folder_with(tmp_path / "kept", a="kept"), "files", keep=True, place="p")
    copy = journal.folder / "outbox" / journal.records[0]["parcel"] / "deep/a"
    assert copy.read_text() == "kept" and not copy.samefile(tmp_path / "kept/deep/a")


def test_what_no_record_names_is_swept_away_when_the_journal_is_opened_and_nothing_else(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal.post(folder_with(tmp_path / "kept", a="kept"), "files", keep=True, place="p")
    with monkeypatch.context() as patch, pytest.raises(Interrupt):  # killed between the files and the record
        patch.setattr(journal, "append", lambda *_, **__: (_ for _ in ()).throw(Interrupt()))
        journal.post(folder_with(tmp_path / "lost", a="lost"), "files", keep=True, place="p")
    assert len(list((journal.folder / "outbox").iterdir())) == 2
    again = reopened(journal)
    (left,) = (again.folder / "outbox").iterdir()
    assert left.name == again.records[0]["parcel"] and (left / "deep/a").read_text() == "kept"
    assert (tmp_path / "kept/deep/a").is_file() and (tmp_path / "lost/deep/a").is_file()
    again.close()


def test_files_that_cannot_be_put_there_stop_the_run_with_a_line(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="cannot be written: No such file or directory"):
        journal.post(tmp_path / "absent", "files", keep=False, place="p")
    assert journal.records == []
