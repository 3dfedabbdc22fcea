"""Checkpoints that are damaged, or that no run wrote, are passed over, each with a message."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.runtime.errors import UserError
from pipeline.train import checkpoint
from pipeline.train.checkpoint import FILES, STATE, best_folder, newest_resume_point, read_state, step_folder
from pipeline.train.checkpoint_writer import CheckpointWriter
from tests.train.checkpoint_folders import files_at, resumed, state_at, write, write_best


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def of_another(path: Path) -> None:
    """Replace a file by an intact one of another checkpoint."""
    shutil.copy(path.parent.parent / "step-00000005" / path.name, path)


DAMAGES = {
    "truncated": truncated,
    "flipped": flipped,
    "deleted": Path.unlink,
    "emptied": lambda path: path.write_bytes(b""),
}
MANIFESTS = {
    "no JSON": b"{",
    "no text": b"\xff\xfe\x00\x01",
    "nothing": b"",
    "zeros": bytes(500),
    "too deep": b"[" * 100_000,
    "a list": b"[]",
    "null": b"null",
    "a number of any length": b'{"step": ' + b"9" * 10_000 + b"}",
    "no hashes": json.dumps(state_at(10).to_json()).encode(),
    "hashes that are a list": json.dumps({**state_at(10).to_json(), "sha256": ["weights.npz"]}).encode(),
}


def assert_passed_over(checkpoints: Path, path: Path, reason: str) -> None:
    """The newest checkpoint is not used, the one before it is, and one message says why."""
    start, notes = newest_resume_point(checkpoints)
    assert start is not None and start.state.step == 5
    (note,) = notes
    assert note.startswith(f"{path}: ") and reason in note and note.endswith("; the checkpoint before it is used")
    assert "\n" not in note


@pytest.mark.parametrize("name", [*FILES, STATE])
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_checkpoint_with_a_damaged_file_is_passed_over(
    tmp_path: Path, name: str, damage: Callable[[Path], Any]
) -> None:
    write(tmp_path, 5)
    path = write(tmp_path, 10) / name
    damage(path)
    assert_passed_over(tmp_path, path, "damaged" if path.exists() or name == STATE else "is missing")


@pytest.mark.parametrize("name", FILES)
def test_an_intact_file_of_another_checkpoint_is_found(tmp_path: Path, name: str) -> None:
    write(tmp_path, 5)
    path = write(tmp_path, 10) / name
    of_another(path)
    assert_passed_over(tmp_path, path, "is damaged: its SHA-256 is not the recorded one")


@pytest.mark.parametrize("content", MANIFESTS.values(), ids=MANIFESTS)
def test_an_unreadable_manifest_is_passed_over(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, 5)
    path = write(tmp_path, 10) / STATE
    path.write_bytes(content)
    assert_passed_over(tmp_path, path, "is damaged or missing")


def test_every_changed_digit_of_a_manifest_is_found(tmp_path: Path) -> None:
    """Even where the file is still JSON and the state still plausible."""
    write_best(tmp_path, 1)
    path = write(tmp_path, 17, best=1) / STATE
    whole = path.read_text()
    digits = [place for place, character in enumerate(whole) if character.isdecimal()]
    assert len(digits) > 20
    for place in digits:
        path.write_text(f"{whole[:place]}{(int(whole[place]) + 1) % 10}{whole[place + 1 :]}")
        if json.loads(path.read_text()) == json.loads(whole):
            continue  # the last digit of a number: the value has the same bits
        with pytest.raises(UserError, match="is damaged"):
            read_state(path.parent)


def test_a_manifest_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, 10) / STATE
    monkeypatch.setattr(checkpoint, "LARGEST_STATE", path.stat().st_size - 1)
    with pytest.raises(UserError, match="it is too large"):
        read_state(path.parent)


@pytest.mark.parametrize(
    "changes",
    [
        {"step": "many"}, {"step": None}, {"step": [1]}, {"step": -1}, {"step": 21}, {"step": 9}, {"step": 1e400},
        {"epoch": 2}, {"epoch": -1}, {"steps_per_epoch": 0}, {"steps_per_epoch": -10}, {"seconds": "long"},
        {"best": 3}, {"best": []}, {"best": "best"}, {"best": {}}, {"best": {"epoch": 1}},
    ],
    ids=str,
)  # fmt: skip
def test_an_impossible_state_is_passed_over(tmp_path: Path, changes: dict[str, Any]) -> None:
    """From a server it may come with correct hashes."""
    write(tmp_path, 5)
    folder = step_folder(tmp_path, 10)
    CheckpointWriter(folder, files_at(10)).commit({**state_at(10).to_json(), **changes})
    assert_passed_over(tmp_path, folder / STATE, "is not a valid training state")


@pytest.mark.parametrize(
    "matrix",
    [None, 3, "matrix", [1, 2], [["a"]], [[1, 2]], [[1, 2], [3]], [[-1, 0], [0, 0]], [[2**63, 0], [0, 0]], [[[1]]]],
    ids=str,
)
def test_an_invalid_confusion_matrix_is_passed_over(tmp_path: Path, matrix: Any) -> None:
    write(tmp_path, 5)
    write_best(tmp_path, 1)
    state = state_at(10, best=1).to_json()
    folder = step_folder(tmp_path, 10)
    CheckpointWriter(folder, files_at(10)).commit({**state, "best": {**state["best"], "confusion_matrix": matrix}})
    assert_passed_over(tmp_path, folder / STATE, "is not a valid training state")


@pytest.mark.parametrize("key", sorted(state_at(10).to_json().keys() - {"epoch_seconds"}))  # 0.1 did not write it
def test_a_state_with_a_missing_key_is_passed_over(tmp_path: Path, key: str) -> None:
    write(tmp_path, 5)
    folder = step_folder(tmp_path, 10)
    CheckpointWriter(folder, files_at(10)).commit(
        {name: value for name, value in state_at(10).to_json().items() if name != key}
    )
    assert_passed_over(tmp_path, folder / STATE, "is not a valid training state")


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_damaged_best_weights_make_a_checkpoint_passed_over(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    write(tmp_path, 5)
    path = write_best(tmp_path, 1) / "weights.npz"
    write(tmp_path, 10, best=1)
    assert resumed(tmp_path).state.step == 10
    damage(path)
    assert_passed_over(tmp_path, path, "damaged" if path.exists() else "is missing")


def test_missing_best_weights_make_a_checkpoint_passed_over(tmp_path: Path) -> None:
    write(tmp_path, 5)
    write(tmp_path, 10, best=1)
    assert_passed_over(tmp_path, best_folder(tmp_path, 1) / STATE, "is damaged or missing")


def test_every_damaged_checkpoint_has_a_message(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        truncated(write(tmp_path, step) / "weights.npz")
    tmp_path.joinpath("step-note").write_text("a file")
    start, notes = newest_resume_point(tmp_path)
    assert start is None
    assert [note.partition(":")[0] for note in notes] == [
        str(step_folder(tmp_path, step) / "weights.npz")
        for step in (15, 10, 5)  # none for the note, which is not a checkpoint
    ]
