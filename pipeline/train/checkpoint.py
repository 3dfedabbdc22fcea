"""Checkpoints on the disk: each is a folder of its own that is complete or absent, and says so itself.

<checkpoints>/step-00000480/ holds weights.npz, optimizer.npz, running.npz and, written last, state.json with the rest
the training state and the SHA-256 of the others and of itself. <checkpoints>/best-0003/ holds the weights that epoch 3
was validated with. Nothing is changed once it has its name.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.config.schema import Config
from pipeline.model.weights import Arrays, read_arrays, weights_sha256
from pipeline.runtime.errors import RunFailed, UserError
from pipeline.runtime.files import flush

STATE = "state.json"
OUTDATED = ".outdated"  # ends the name of a checkpoint that another of its step replaces
FILES = ("weights.npz", "optimizer.npz", "running.npz")  # of a checkpoint that training can go on from
LARGEST_STATE = 2**26  # bytes


@dataclass(frozen=True)
class Best:
    """The epoch with the highest validation mIoU so far."""

    epoch: int
    mean_iou: float
    loss: float
    confusion_matrix: list[list[int]]
    weights_sha256: str


@dataclass(frozen=True)
class TrainingState:
    """Where training stands, beside the arrays. `step` is beyond the closed epochs when one is under way."""

    step: int  # batches trained
    epoch: int  # epochs closed: trained, validated and logged
    steps_per_epoch: int
    seconds: float  # of training so far, over all processes that worked on it
    told_collapse: bool
    best: Best | None

    @property
    def steps_into_epoch(self) -> int:
        """Steps taken since the last closed epoch, at most `steps_per_epoch`."""
        return self.step - self.epoch * self.steps_per_epoch

    def is_over(self, config: Config) -> bool:
        """Whether no epoch is left to train: the last one is closed, or early stopping has ended training."""
        waited = self.epoch - self.best.epoch if self.best is not None else 0
        return self.epoch >= config.epochs or (config.early_stopping is not None and waited >= config.early_stopping)


@dataclass(frozen=True)
class Start:
    """A checkpoint that training goes on from."""

    folder: Path
    state: TrainingState
    files: dict[str, Arrays]

    @property
    def sha256(self) -> str:
        """The hash of all that training goes on with."""
        return weights_sha256({f"{file}/{name}": array for file in FILES for name, array in self.files[file].items()})


class Unfinished:
    """A checkpoint whose arrays are written, and which does not exist before it is committed."""

    def __init__(self, folder: Path, files: dict[str, Arrays]) -> None:
        """Write the arrays beside the folder that they will be in.

        Raises:
            RunFailed: they cannot be written, as on a full disk; nothing is left of them.
        """
        self.folder, self._hidden = folder, folder.with_name(f".{folder.name}")
        self._hashes: dict[str, str] = {}

        def write() -> None:
            shutil.rmtree(self._hidden, ignore_errors=True)
            self._hidden.mkdir(parents=True)
            for name, arrays in files.items():
                with (self._hidden / name).open("w+b") as file:
                    np.savez(file, **arrays)  # type: ignore[arg-type]
                    os.fsync(file.fileno())
                    file.seek(0)
                    self._hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()

        self._or_fail(write)

    def commit(self, state: dict[str, Any]) -> None:
        """Give it its state and its name; a checkpoint of that name is replaced.

        Raises:
            RunFailed: it cannot be written.
        """

        def write() -> None:
            content = {**state, "sha256": self._hashes}
            with (self._hidden / STATE).open("w") as text:
                json.dump({**content, "state_sha256": _sha256(content)}, text, indent=2)
                text.flush()
                os.fsync(text.fileno())
            flush(self._hidden)
            outdated = self.folder.with_name(self.folder.name + OUTDATED)
            if self.folder.exists():  # a damaged one, or one of an epoch that was not closed or is repeated
                shutil.rmtree(outdated, ignore_errors=True)
                self.folder.rename(outdated)  # a folder can only be renamed to a name that is free
            self._hidden.rename(self.folder)
            flush(self.folder.parent)
            shutil.rmtree(outdated, ignore_errors=True)  # till here it could be gone on from

        self._or_fail(write)

    def _or_fail(self, write: Callable[[], None]) -> None:
        try:
            write()
        except OSError as error:
            shutil.rmtree(self._hidden, ignore_errors=True)
            raise RunFailed(
                f"{self.folder}: the checkpoint cannot be written: {error.strerror}; the one before it is whole"
            ) from error


def step_folder(checkpoints: Path, step: int) -> Path:
    """Where the checkpoint of a step is."""
    return checkpoints / f"step-{step:08d}"


def best_folder(checkpoints: Path, epoch: int) -> Path:
    """Where the weights of an epoch that was the best are."""
    return checkpoints / f"best-{epoch:04d}"


def newest_first(checkpoints: Path) -> Iterator[Path]:
    """The folders of checkpoints that training can go on from, damaged ones included."""

    def age(folder: Path) -> tuple[int, bool]:
        return _number(folder), not folder.name.endswith(OUTDATED)

    yield from sorted((found for found in checkpoints.glob("step-*") if _number(found) >= 0), key=age, reverse=True)


def _number(folder: Path) -> int:
    """The step in a folder's name; -1 for a name of somebody else's."""
    digits = folder.name.removesuffix(OUTDATED).removeprefix("step-")
    return int(digits) if digits.isdecimal() else -1


def prune(newest: Path, keep: int) -> None:
    """Remove all but a checkpoint, the ones before it, `keep` in all, and the best weights that these name.

    Args:
        newest: the one that was just written. What claims to be of a later step is damaged: it was passed over.
    """
    checkpoints = newest.parent
    folders = list(newest_first(checkpoints))
    kept = folders[folders.index(newest) :][:keep]
    for folder in kept[:]:
        try:
            best = read_state(folder).best
        except UserError:
            continue  # damaged, and of no use to anyone
        if best is not None:
            kept.append(best_folder(checkpoints, best.epoch))
    for folder in checkpoints.iterdir():
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def read_state(folder: Path) -> TrainingState:
    """The state of a checkpoint, without a look at its arrays.

    Raises:
        UserError: it is damaged, or was not written by this program.
    """
    return _state(_manifest(folder), folder)


def read_checkpoint(folder: Path) -> tuple[TrainingState, dict[str, Arrays]]:
    """A checkpoint that training can go on from, every byte compared with its hash.

    Raises:
        UserError: it is damaged, or was not written by this program.
    """
    manifest = _manifest(folder)
    return _state(manifest, folder), {name: _verified(folder, name, manifest) for name in FILES}


def read_best(folder: Path) -> Arrays:
    """The weights of an epoch that was the best.

    Raises:
        UserError: they are missing or damaged.
    """
    return _verified(folder, "weights.npz", _manifest(folder))


def newest_start(checkpoints: Path) -> tuple[Start | None, list[str]]:
    """The newest checkpoint that is whole, and a line for each newer one that is not."""
    notes = []
    for folder in newest_first(checkpoints):
        try:
            state, files = read_checkpoint(folder)
            if state.best is not None:
                read_best(best_folder(checkpoints, state.best.epoch))
        except UserError as error:
            notes.append(f"{error}; the checkpoint before it is used")
            continue
        return Start(folder, state, files), notes
    return None, notes


def as_json(state: TrainingState) -> dict[str, Any]:
    """What `read_state` reads."""
    return asdict(state)


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / STATE
    try:
        if path.stat().st_size > LARGEST_STATE:
            raise ValueError("it is too large")
        manifest = json.loads(path.read_text())
        if not isinstance(manifest, dict) or not isinstance(manifest.get("sha256"), dict):
            raise ValueError("it names no hashes")
        if manifest.pop("state_sha256", None) != _sha256(manifest):
            raise ValueError("its SHA-256 is not the recorded one")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: is damaged or missing: {error}") from error
    return manifest


def _state(manifest: dict[str, Any], folder: Path) -> TrainingState:
    """A state with the types that it should have: it may come from a tracking server."""
    try:
        best = manifest["best"]
        if best is not None:
            matrix = [[int(count) for count in row] for row in best["confusion_matrix"]]
            if any(len(row) != len(matrix) or not all(0 <= count < 2**63 for count in row) for row in matrix):
                raise ValueError("what should be a confusion matrix is none")
            best = Best(
                int(best["epoch"]), float(best["mean_iou"]), float(best["loss"]), matrix, str(best["weights_sha256"])
            )
        step, epoch, steps_per_epoch = (int(manifest[key]) for key in ("step", "epoch", "steps_per_epoch"))
        if not 0 <= epoch * steps_per_epoch <= step <= (epoch + 1) * steps_per_epoch or steps_per_epoch < 1:
            raise ValueError(f"step {step} does not lie in epoch {epoch} of {steps_per_epoch} steps")
        return TrainingState(
            step, epoch, steps_per_epoch, float(manifest["seconds"]), bool(manifest["told_collapse"]), best
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise UserError(f"{folder / STATE}: is no training state: {error!r}") from error


def _sha256(content: dict[str, Any]) -> str:
    """The hash of a manifest, whatever the order and the layout of its file."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _verified(folder: Path, name: str, manifest: dict[str, Any]) -> Arrays:
    path = folder / name
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: is missing: {error.strerror}") from error
    if found != manifest["sha256"].get(name):
        raise UserError(f"{path}: is damaged: its SHA-256 is not the recorded one")
    return read_arrays(path)
