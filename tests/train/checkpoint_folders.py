"""What the tests of checkpoints share: folders as training writes them, small and with known contents."""

from pathlib import Path

import numpy as np

from pipeline.train.checkpoint import FILES, ResumePoint, best_folder, newest_resume_point, step_folder
from pipeline.train.checkpoint_state import Best, TrainingState
from pipeline.train.checkpoint_writer import CheckpointWriter

STEPS = 10  # of an epoch


def state_at(step: int, best: int | None = None) -> TrainingState:
    """A state after so many steps; `best` is the best epoch's number."""
    found = None if best is None else Best(best, 0.1 * best, 0.1 + 0.2, [[3, 1], [0, 2]], f"hash of {best}")
    return TrainingState(step, step // STEPS, STEPS, 12.5, False, found)


def files_at(step: int, mark: float = 0.0) -> dict[str, dict[str, np.ndarray]]:
    return {name: {f"{name}/w": np.full((3, 4), step + mark, np.float32)} for name in FILES}


def write(checkpoints: Path, step: int, best: int | None = None, mark: float = 0.0) -> Path:
    """A checkpoint as training writes it: the arrays, then the state."""
    writer = CheckpointWriter(step_folder(checkpoints, step), files_at(step, mark))
    writer.commit(state_at(step, best).to_json())
    return writer.folder


def write_best(checkpoints: Path, epoch: int) -> Path:
    writer = CheckpointWriter(best_folder(checkpoints, epoch), {"weights.npz": {"w": np.full(3, epoch, np.float32)}})
    writer.commit({"epoch": epoch})
    return writer.folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def started(checkpoints: Path) -> ResumePoint:
    """The newest whole checkpoint, whose arrays are those of its step."""
    start, _ = newest_resume_point(checkpoints)
    assert start is not None
    for name, values in files_at(start.state.step).items():
        assert list(start.files[name]) == list(values)
        assert (np.floor(start.files[name][f"{name}/w"]) == start.state.step).all()
    return start
