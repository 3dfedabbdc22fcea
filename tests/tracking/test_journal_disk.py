"""A journal on a full disk, or interrupted in the middle of a record, and the files that wait in its outbox."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.runtime.errors import RunFailed
from pipeline.tracking import journal as module
from pipeline.tracking.journal import Journal, read_journal
from pipeline.tracking.records import Images, Params, Status, Tags, status_of
from tests.tracking.journals import contents, kinds, reopened


class Interrupt(BaseException):
    pass


@pytest.mark.parametrize("place", ["before", "half", "written", "flushed"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), Interrupt()])
def test_an_append_that_fails_leaves_the_journal_unchanged(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, place: str, error: BaseException
) -> None:
    """At every instant between the first byte and the last flush: no half line, and no line without a record."""
    journal.append(Tags({}))
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
        with pytest.raises(expected) as raised:
            journal.append_metrics({"a": 1.0}, step=1)
    if expected is RunFailed:
        assert str(raised.value) == f"{journal.path}: cannot be written: No space left on device"
    assert journal.path.read_bytes() == before and len(journal.records) == 1
    journal.append_metrics({"a": 2.0}, step=1)  # it was not logged
    journal.append(Status("KILLED"))
    again = reopened(journal)
    assert kinds(again.records) == ["tags", "metrics", "status"]
    assert again.history() == {"a": {1: 2.0}}
    again.close()


def test_an_interrupt_after_a_record_leaves_it_everywhere(journal: Journal) -> None:
    """In the file and in memory: what was sent is counted in memory, and used by the process that reads the file."""

    class Interrupted(list):
        def append(self, record: object) -> None:
            super().append(record)
            raise Interrupt

    journal.append(Tags({}))
    journal.records = Interrupted(journal.records)
    with pytest.raises(Interrupt):
        journal.append(Params({}))
    journal.records = list(journal.records)
    journal.append(Status("KILLED"))
    assert kinds(read_journal(journal.folder)) == ["tags", "params", "status"]
    assert read_journal(journal.folder) == journal.records


def test_a_second_interrupt_during_the_first_does_no_harm(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the half line of the first one is removed."""
    journal.append(Tags({}))

    class File:
        """The file, whose second call of `truncate` is interrupted, too."""

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
        journal.append(Tags({"a long": "x" * 100}))
    journal.append(Status("KILLED"))
    assert kinds(read_journal(journal.folder)) == ["tags", "status"]
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


def test_a_full_disk_loses_nothing(small_disk: Path) -> None:
    """And appending continues as soon as there is room."""
    journal = Journal(small_disk / "run")
    (small_disk / "filling").write_bytes(b"\0" * 90_000)
    with pytest.raises(RunFailed, match=r"journal\.jsonl: cannot be written: No space left on device"):
        for number in range(1000):
            journal.append(Tags({"number": str(number), "x": "y" * 1000}))
    assert len(journal.records) > 5
    assert read_journal(journal.folder) == journal.records
    assert [int(record.values["number"]) for record in journal.of(Tags)] == list(range(len(journal.records)))
    assert journal.path.read_bytes().endswith(b"\n")
    files = small_disk / "files"
    files.mkdir()
    (small_disk / "filling").unlink()
    (files / "large").write_bytes(b"\0" * 40_000)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(RunFailed, match=r"cannot be written: .*No space left"):
        patch.setattr(os, "link", no_links)
        for _ in range(9):
            journal.copy_artifacts(files, "x")
    (files / "large").unlink()
    journal.append(Status("FAILED"))
    journal.close()
    assert status_of(read_journal(journal.folder)) == "FAILED"


def test_the_last_records_have_room_on_a_full_disk(small_disk: Path) -> None:
    """Even with the longest failure, every character of it escaped, while the journal's last block is full, too."""
    journal = Journal(small_disk / "run")
    journal.reserve()
    with (small_disk / "filling").open("wb", buffering=0) as filling, pytest.raises(OSError, match="No space left"):
        while True:
            filling.write(bytes(512))
    with pytest.raises(RunFailed, match=r"journal\.jsonl: cannot be written: No space left on device"):
        for _ in range(100):
            journal.append(Tags({"x": "y" * 60}))
    again = Journal(small_disk / "other")
    with pytest.raises(RunFailed, match=r"other/reserve: cannot be written: No space left on device"):
        again.reserve()
    again.close()
    journal.release()
    journal.append(Tags({"failure": "\u20ac" * 5000}))
    journal.append(Status("FAILED"))
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


def test_a_folder_is_moved_into_the_outbox_or_copied(journal: Journal, tmp_path: Path) -> None:
    journal.move_artifacts(folder_with(tmp_path / "moved", a="moved"), "p/q")
    journal.copy_artifacts(folder_with(tmp_path / "copied", a="copied"), "p")
    journal.move_model(folder_with(tmp_path / "model", a="model"), 3)
    moved, copied, model = (journal.folder / "outbox" / content["parcel"] for content in contents(journal.records))
    assert not (tmp_path / "moved").exists() and (moved / "deep/a").read_text() == "moved"
    assert not (tmp_path / "model").exists() and (model / "deep/a").read_text() == "model"
    assert (copied / "deep/a").samefile(tmp_path / "copied/deep/a")  # takes no room
    assert contents(journal.records)[0] == {"kind": "files", "place": "p/q", "parcel": moved.name}
    assert contents(journal.records)[2] == {"kind": "model", "parcel": model.name, "step": 3}
    (tmp_path / "copied/deep/a").unlink()  # as an old checkpoint is
    assert (copied / "deep/a").read_text() == "copied"


def test_a_parcel_replaces_the_former_one_for_its_place(journal: Journal, tmp_path: Path) -> None:
    for text in ("old", "new"):
        journal.copy_artifacts(folder_with(tmp_path / text, a=text), "checkpoints/last")
        journal.copy_artifacts(folder_with(tmp_path / text, a=text), f"predictions/{text}")
        journal.move_model(folder_with(tmp_path / "model", a=text), 3)
    parcels = [journal.outbox.path(content["parcel"]) for content in contents(journal.records)]
    assert [parcel.is_dir() for parcel in parcels] == [False, True, False, True, True, True]
    assert (parcels[3] / "deep/a").read_text() == (parcels[5] / "deep/a").read_text() == "new"


def test_images_of_a_step_replace_those_of_no_other(journal: Journal, tmp_path: Path) -> None:
    for step in (1, 2):
        (tmp_path / "images").mkdir()
        (tmp_path / "images" / "a.webp").write_bytes(b"12345")
        journal.move_images(tmp_path / "images", "val", step, ["val/a"], 10 * step)
    found = journal.of(Images)
    assert [(record.split, record.step, record.size, record.time) for record in found] == [
        ("val", 1, 5, 10),
        ("val", 2, 5, 20),
    ]
    assert all(journal.outbox.path(record.parcel).is_dir() for record in reopened(journal).of(Images))


def test_files_are_copied_on_a_file_system_without_links(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "link", no_links)
    journal.copy_artifacts(folder_with(tmp_path / "source", a="a"), "p")
    (copied,) = (journal.folder / "outbox").glob("*/deep/a")
    assert copied.read_text() == "a" and not copied.samefile(tmp_path / "source/deep/a")


def test_opening_removes_parcels_that_no_record_names(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else."""
    journal.copy_artifacts(folder_with(tmp_path / "named", a="named"), "p")
    with monkeypatch.context() as patch, pytest.raises(Interrupt):  # killed between the files and the record
        patch.setattr(journal, "append", lambda _: (_ for _ in ()).throw(Interrupt()))
        journal.copy_artifacts(folder_with(tmp_path / "lost", a="lost"), "p")
    assert len(list((journal.folder / "outbox").iterdir())) == 2
    again = reopened(journal)
    (left,) = (again.folder / "outbox").iterdir()
    assert left.name == contents(again.records)[0]["parcel"] and (left / "deep/a").read_text() == "named"
    assert (tmp_path / "named/deep/a").is_file() and (tmp_path / "lost/deep/a").is_file()
    again.close()


def test_files_that_cannot_be_posted_stop_the_run(journal: Journal, tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="cannot be written: No such file or directory"):
        journal.move_artifacts(tmp_path / "absent", "p")
    assert journal.records == []
