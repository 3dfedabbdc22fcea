"""Checkpoints on the disk: where each one is, and how it is read. `checkpoint_writer` writes and removes them.

A checkpoint is a folder that is complete or absent, and never changes once it has its name.
<checkpoints>/step-00000480/ has weights.npz, optimizer.npz, running.npz and state.json: the rest of the training state,
the SHA-256 of the other files and its own. <checkpoints>/best-0003/ has the weights that epoch 3 was validated with.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.model.weights import Arrays, read_arrays, weights_sha256
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import OUTDATED
from pipeline.train.checkpoint_state import TrainingState

STATE = "state.json"
FILES = ("weights.npz", "optimizer.npz", "running.npz")  # the arrays of a checkpoint that training can resume from
LARGEST_STATE = 2**26  # bytes


@dataclass(frozen=True)
class ResumePoint:
    """A checkpoint that training resumes from."""

    folder: Path
    state: TrainingState
    files: dict[str, Arrays]  # by the names in FILES

    @property
    def sha256(self) -> str:
        """The hash of all its arrays."""
        return weights_sha256({f"{file}/{name}": array for file in FILES for name, array in self.files[file].items()})


def step_folder(checkpoints: Path, step: int) -> Path:
    """The folder of the checkpoint of a step."""
    return checkpoints / f"step-{step:08d}"


def best_folder(checkpoints: Path, epoch: int) -> Path:
    """The folder of the weights of an epoch that was the best."""
    return checkpoints / f"best-{epoch:04d}"


def newest_first(checkpoints: Path) -> Iterator[Path]:
    """The folders of checkpoints that training can resume from, damaged ones included."""

    def age(folder: Path) -> tuple[int, bool]:
        return _step_of(folder), not folder.name.endswith(OUTDATED)

    yield from sorted((found for found in checkpoints.glob("step-*") if _step_of(found) >= 0), key=age, reverse=True)


def newest_resume_point(checkpoints: Path) -> tuple[ResumePoint | None, list[str]]:
    """The newest complete checkpoint, and a message for each newer one that is damaged."""
    notes = []
    for folder in newest_first(checkpoints):
        try:
            state, files = read_checkpoint(folder)
            if state.best is not None:
                read_best(best_folder(checkpoints, state.best.epoch))
        except UserError as error:
            notes.append(f"{error}; the checkpoint before it is used")
            continue
        return ResumePoint(folder, state, files), notes
    return None, notes


def read_state(folder: Path) -> TrainingState:
    """The state of a checkpoint; its arrays are not looked at.

    Raises:
        UserError: it is damaged, or was not written by this program.
    """
    return _state(folder, _read_manifest(folder))


def read_checkpoint(folder: Path) -> tuple[TrainingState, dict[str, Arrays]]:
    """A checkpoint that training can resume from: its state, and its arrays by the names in FILES.

    Raises:
        UserError: it is damaged (every file is compared with its hash), or was not written by this program.
    """
    manifest = _read_manifest(folder)
    return _state(folder, manifest), {name: _read_verified(folder, name, manifest) for name in FILES}


def read_best(folder: Path) -> Arrays:
    """The weights of an epoch that was the best.

    Raises:
        UserError: they are missing or damaged.
    """
    return _read_verified(folder, "weights.npz", _read_manifest(folder))


def manifest_sha256(content: dict[str, Any]) -> str:
    """The hash of the content of a state.json, whatever the order and the layout of the file."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _step_of(folder: Path) -> int:
    """The step in a folder's name; -1 for a name that this program does not give."""
    digits = folder.name.removesuffix(OUTDATED).removeprefix("step-")
    return int(digits) if digits.isdecimal() else -1


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    try:
        if path.stat().st_size > LARGEST_STATE:
            raise ValueError("it is too large")
        manifest = json.loads(path.read_text())
        if not isinstance(manifest, dict) or not isinstance(manifest.get("sha256"), dict):
            raise ValueError("it does not have the hashes of the files")
        if manifest.pop("state_sha256", None) != manifest_sha256(manifest):
            raise ValueError("its SHA-256 is not the recorded one")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is damaged or missing: {error}") from error
    return manifest


def _state(folder: Path, manifest: dict[str, Any]) -> TrainingState:
    try:
        return TrainingState.from_json(manifest)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{folder / STATE}: is not a valid training state: {error!r}") from error


def _read_verified(folder: Path, name: str, manifest: dict[str, Any]) -> Arrays:
    path = folder / name
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: is missing: {error.strerror}") from error
    if found != manifest["sha256"].get(name):
        raise UserError(f"{path}: is damaged: its SHA-256 is not the recorded one")
    return read_arrays(path)
