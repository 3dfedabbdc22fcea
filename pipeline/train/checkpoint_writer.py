"""Checkpoints are written here, complete or not at all, and removed when newer ones make them superfluous."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.model.weights import Arrays
from pipeline.runtime.errors import RunFailed, UserError
from pipeline.runtime.files import flush, publish
from pipeline.train.checkpoint import STATE, best_folder, manifest_sha256, newest_first, read_state


class CheckpointWriter:
    """Writes one checkpoint in two steps: the arrays at once, and with `commit` its state and its name.

    Until it is committed the checkpoint does not exist for those who read.
    """

    def __init__(self, folder: Path, files: dict[str, Arrays]) -> None:
        """Write the arrays into a hidden folder next to the checkpoint's.

        Args:
            folder: of the checkpoint.
            files: arrays by the name of their file.

        Raises:
            RunFailed: they cannot be written, as on a full disk; nothing of them is left.
        """
        self.folder, self._hidden = folder, folder.with_name(f".{folder.name}")
        with self._clean_up_on_failure():
            shutil.rmtree(self._hidden, ignore_errors=True)
            self._hidden.mkdir(parents=True)
            self._hashes = {name: _write_arrays(self._hidden / name, arrays) for name, arrays in files.items()}

    def commit(self, state: dict[str, Any]) -> None:
        """Write its state and give it its name; a checkpoint of that name is replaced.

        Raises:
            RunFailed: it cannot be written; the one that was to be replaced is intact.
        """
        content = {**state, "sha256": self._hashes}
        text = json.dumps({**content, "state_sha256": manifest_sha256(content)}, indent=2)
        with self._clean_up_on_failure():
            (self._hidden / STATE).write_text(text)
            # One of that name is damaged, or is of an epoch that was not closed or is repeated.
            publish(self._hidden, self.folder)

    @contextlib.contextmanager
    def _clean_up_on_failure(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            shutil.rmtree(self._hidden, ignore_errors=True)
            raise RunFailed(
                f"{self.folder}: the checkpoint cannot be written: {error.strerror}; the one before it is intact"
            ) from error


def prune_checkpoints(newest: Path, keep: int) -> None:
    """Remove all but the newest checkpoints, and the best weights that those name.

    Args:
        newest: the folder that was just written. One of a later step is damaged, and was passed over.
        keep: how many checkpoints stay, `newest` included.
    """
    checkpoints = newest.parent
    folders = list(newest_first(checkpoints))
    kept = folders[folders.index(newest) :][:keep]
    for folder in kept[:]:
        try:
            best = read_state(folder).best
        except UserError:
            continue  # damaged: the best weights that it names are of no use
        if best is not None:
            kept.append(best_folder(checkpoints, best.epoch))
    for folder in checkpoints.iterdir():
        if folder not in kept:
            shutil.rmtree(folder, ignore_errors=True)


def _write_arrays(path: Path, arrays: Arrays) -> str:
    """Write an npz file to the disk and return its SHA-256."""
    with path.open("wb") as file:  # given a path, numpy also prints an error when the disk is full
        np.savez(file, **arrays)  # type: ignore[arg-type]
    flush(path)  # now, while a full disk can still keep the epoch from being logged
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
