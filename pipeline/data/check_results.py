"""What a check found in files without faults, stored so that an unchanged dataset is not decoded again."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.data.mask_colours import COLUMNS
from pipeline.runtime.errors import UserError
from pipeline.runtime.files import write_atomic


@dataclass(frozen=True)
class CheckResults:
    """What was measured on all examples, split after split; other tables count them from 0."""

    pairs: np.ndarray  # (examples, 3 + classes) int64: height, width, orientation, pixels of class 0, 1, …
    near_copies: np.ndarray  # (n, 2) int64: examples of two splits whose images look the same
    colours: np.ndarray  # (n, 6) int64: `pipeline.data.mask_colours.disagreements`


def read_results(path: Path, examples: int, classes: int) -> CheckResults | None:
    """The stored results; None if the file is missing or damaged."""
    try:
        content = json.loads(path.read_text())
        results = CheckResults(
            _table(content["pairs"], 3 + classes),
            _table(content["near_copies"], 2),
            _table(content["colours"], COLUMNS),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    places = np.concatenate([results.near_copies.ravel(), results.colours[:, 4]])
    fits = len(results.pairs) == examples and (results.colours[:, 0] < classes).all()
    return results if fits and ((places >= 0) & (places < examples)).all() else None


def write_results(path: Path, results: CheckResults) -> None:
    """Store results for `read_results`.

    Raises:
        UserError: the folder cannot be written.
    """
    content = {name: table.tolist() for name, table in vars(results).items()}
    try:
        write_atomic(path, json.dumps(content))
    except OSError as error:
        raise UserError(f"{path.parent}: cannot be written: {error.strerror}; set another data_dir") from error


def _table(rows: object, columns: int) -> np.ndarray:
    """(n, columns) int64; raises ValueError for anything else."""
    table = np.array(rows) if rows else np.zeros((0, columns), np.int64)
    if table.ndim != 2 or table.shape[1] != columns or table.dtype != np.int64:
        raise ValueError(f"rows of {columns} integers expected")
    return table
