"""Checkpoint folders as training writes them, small and with known contents: shared by the tests of checkpoints."""

from pathlib import Path

import numpy as np

from pipeline.train.checkpoint import FILES, ResumePoint, best_folder, newest_resume_point, step_folder
from pipeline.train.checkpoint_state import Best, TrainingState
from pipeline.train.checkpoint_writer import CheckpointWriter

STEPS = 10  # in an epoch


def state_at(step: int, best: int | None = None) -> TrainingState:
    """The state after so many steps; `best` is the number of the best epoch."""
    found = None if best is None else Best(best, 0.1 * best, 0.1 + 0.2, [[3, 1], [0, 2]], f"hash of {best}")
    return TrainingState(step, step // STEPS, STEPS, seconds=12.5, collapse_reported=False, best=found)


def files_at(step: int, mark: float = 0.0) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of a step's checkpoint; `mark`, below 1, tells two of the same step apart."""
    return {name: {f"{name}/w": np.full((3, 4), step + mark, np.float32)} for name in FILES}


def write(checkpoints: Path, step: int, best: int | None = None, mark: float = 0.0) -> Path:
    """Write a checkpoint as training does: the arrays, then the state."""
    writer = CheckpointWriter(step_folder(checkpoints, step), files_at(step, mark))
    writer.commit(state_at(step, best).to_json())
    return writer.folder


def write_best(checkpoints: Path, epoch: int) -> Path:
    """Write the weights of an epoch that was the best."""
    writer = CheckpointWriter(best_folder(checkpoints, epoch), {"weights.npz": {"w": np.full(3, epoch, np.float32)}})
    writer.commit({"epoch": epoch})
    return writer.folder


def names(folder: Path) -> list[str]:
    """What a folder contains."""
    return sorted(path.name for path in folder.iterdir())


def resumed(checkpoints: Path) -> ResumePoint:
    """The newest complete checkpoint, whose arrays are those of its step."""
    start, _ = newest_resume_point(checkpoints)
    assert start is not None
    for name, values in files_at(start.state.step).items():
        assert list(start.files[name]) == list(values)
        assert (np.floor(start.files[name][f"{name}/w"]) == start.state.step).all()
    return start
