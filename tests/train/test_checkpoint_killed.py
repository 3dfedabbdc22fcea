"""Whenever a process is killed, or the disk is full, while a checkpoint is written: a complete one exists."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.runtime.errors import RunFailed
from pipeline.train.checkpoint import read_best, step_folder
from pipeline.train.checkpoint_writer import CheckpointWriter, prune_checkpoints
from tests.train.checkpoint_folders import STEPS, names, resumed, state_at, write, write_best


class Killed(BaseException):
    """Stands for SIGKILL: no code catches it."""


def killed_at(step: int, after: bool, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Die before or after a file operation, given by its number; returns the list to which those done are appended.

    Removing a folder that does not exist is not counted. Where it is to die "before" writing or removing, it dies half
    way through.
    """
    done: list[str] = []

    def dying(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(*arguments: Any, **options: Any) -> Any:
            if name == "rmtree" and not Path(arguments[0]).exists():
                return None
            if len(done) == step and not after:
                if name == "savez":
                    arguments[0].write(b"PK\x03\x04 half a file")
                elif name == "write":
                    with open(arguments[0], "w") as state:
                        state.write('{"step": 1')
                elif name == "rmtree":
                    next(
                        path for path in sorted(Path(arguments[0]).rglob("*"), reverse=True) if path.is_file()
                    ).unlink()
                raise Killed
            value = original(*arguments, **options)
            done.append(name)
            if len(done) == step + 1 and after:
                raise Killed
            return value

        return replacement

    monkeypatch.setattr(Path, "mkdir", dying("mkdir", Path.mkdir))
    monkeypatch.setattr(Path, "rename", dying("rename", Path.rename))
    monkeypatch.setattr(Path, "replace", dying("replace", Path.replace))
    monkeypatch.setattr(Path, "write_text", dying("write", Path.write_text))
    monkeypatch.setattr(np, "savez", dying("savez", np.savez))
    monkeypatch.setattr(os, "fsync", dying("fsync", os.fsync))
    monkeypatch.setattr(shutil, "rmtree", dying("rmtree", shutil.rmtree))
    return done


# The file operations at the end of an epoch, in order: its best weights, its checkpoint, and the removal of the
# checkpoints that it makes superfluous. Each may be the last.
BEST = ["mkdir", "savez", "fsync", "write", *["fsync"] * 3, "replace", "fsync"]
NEW = ["mkdir", *["savez", "fsync"] * 3, "write", *["fsync"] * 5, "replace", "fsync"]
PRUNE = ["rmtree"] * 2
CLOSED = [*BEST, *NEW, *PRUNE]


def close_epoch(checkpoints: Path, epoch: int, keep: int = 1) -> None:
    """Write and remove what training does at the end of an epoch that is the best so far."""
    write_best(checkpoints, epoch)
    prune_checkpoints(write(checkpoints, epoch * STEPS, best=epoch, mark=0.5), keep)


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(len(CLOSED)), ids=[f"{number}-{name}" for number, name in enumerate(CLOSED)])
def test_killed_anywhere_the_old_or_new_checkpoint_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, after: bool
) -> None:
    """With its best weights; and the repeated epoch leaves the same folders as an undisturbed one."""
    close_epoch(tmp_path, 1)
    with monkeypatch.context() as patch:
        done = killed_at(step, after, patch)
        with pytest.raises(Killed):
            close_epoch(tmp_path, 2)
    assert done == CLOSED[: len(done)] and len(done) == step + after
    named = len(BEST) + NEW.index("replace")  # from then on the new one counts
    start = resumed(tmp_path)
    assert start.state.epoch == (2 if len(done) > named else 1)
    assert start.state.best is not None and start.state.best.epoch == start.state.epoch
    close_epoch(tmp_path, 2)
    assert resumed(tmp_path).state.epoch == 2
    assert names(tmp_path) == ["best-0002", "step-00000020"]  # nothing else is left


# An epoch that was interrupted after its last step is closed by the next process, in a folder of the same name.
AGAIN = [*NEW[:-2], "rename", "replace", "fsync", "rmtree"]


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(len(AGAIN)), ids=[f"{number}-{name}" for number, name in enumerate(AGAIN)])
def test_killed_while_replacing_a_checkpoint_one_is_complete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, after: bool
) -> None:
    """Even where it is the only checkpoint."""

    def replace_it() -> None:
        write(tmp_path, 20, best=1, mark=0.5)

    write_best(tmp_path, 1)
    write(tmp_path, 20)
    with monkeypatch.context() as patch:
        done = killed_at(step, after, patch)
        with pytest.raises(Killed):
            replace_it()
    assert done == AGAIN[: len(done)] and len(done) == step + after
    new = len(done) >= len(AGAIN) - 2
    assert resumed(tmp_path).state.best == (state_at(20, best=1).best if new else None)
    for _ in range(2):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            killed_at(AGAIN.index("rename"), False, patch)
            replace_it()  # killed several times
        assert resumed(tmp_path).state.step == 20
    replace_it()
    prune_checkpoints(step_folder(tmp_path, 20), 1)
    assert resumed(tmp_path).state.best is not None and names(tmp_path) == ["best-0001", "step-00000020"]


@pytest.mark.parametrize("step", range(len(BEST)))
def test_best_weights_are_written_however_often_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    for _ in range(3):
        with monkeypatch.context() as patch:
            killed_at(step, True, patch)
            with pytest.raises(Killed):
                write_best(tmp_path, 2)
    assert (read_best(write_best(tmp_path, 2))["w"] == 2).all()


# ---- a full disk

PLACES = {
    "mkdir": (Path, "mkdir", 0),
    "first array": (np, "savez", 0),
    "last array": (np, "savez", 2),
    "fsync of an array": (os, "fsync", 1),
    "state": (Path, "write_text", 0),
    "fsync of the files": (os, "fsync", 4),
    "fsync of the folder": (os, "fsync", 7),
    "name": (Path, "replace", 0),
}


def full(monkeypatch: pytest.MonkeyPatch, place: Any, name: str, after: int) -> None:
    """Let the call after so many fail as on a full disk, and every later one."""
    original, calls = getattr(place, name), []

    def replacement(*arguments: Any, **options: Any) -> Any:
        calls.append(name)
        if len(calls) > after:
            if name == "savez":
                arguments[0].write(b"half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*arguments, **options)

    monkeypatch.setattr(place, name, replacement)


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_a_full_disk_leaves_only_the_checkpoint_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str, int]
) -> None:
    write_best(tmp_path, 1)
    write(tmp_path, 10, best=1)
    with monkeypatch.context() as patch:
        full(patch, *place)
        with pytest.raises(RunFailed) as failed:
            write(tmp_path, 20, best=1)
    assert str(failed.value) == (
        f"{step_folder(tmp_path, 20)}: the checkpoint cannot be written: No space left on device; "
        "the one before it is intact"
    )
    assert names(tmp_path) == ["best-0001", "step-00000010"]
    assert resumed(tmp_path).state == state_at(10, best=1)
    write(tmp_path, 20, best=1)  # when there is room again
    assert resumed(tmp_path).state.step == 20


@pytest.mark.parametrize("move", ["rename", "replace"])
def test_a_full_disk_leaves_the_only_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, move: str) -> None:
    write(tmp_path, 20)
    with monkeypatch.context() as patch:
        full(patch, Path, move, 0)
        with pytest.raises(RunFailed, match="No space left on device"):
            write(tmp_path, 20, mark=0.5)
    assert resumed(tmp_path).state == state_at(20)
    assert not [name for name in names(tmp_path) if name.startswith(".")]


def test_the_error_of_a_full_device_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Linux has a device that is always full. Nothing else is printed, although numpy's writer fails twice."""
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "open", lambda path, mode="r", *_: open("/dev/full", mode))  # noqa: SIM115
        with pytest.raises(RunFailed, match="No space left on device"):
            CheckpointWriter(step_folder(tmp_path, 1), {"weights.npz": {"w": np.zeros(10**6, np.float32)}})
    assert names(tmp_path) == []
    assert capsys.readouterr().err == ""
