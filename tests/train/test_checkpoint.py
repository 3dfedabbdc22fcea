"""Checkpoints are written and read to the last bit, found newest first, and pruned."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.train.checkpoint import (
    FILES,
    STATE,
    newest_first,
    newest_resume_point,
    read_best,
    read_checkpoint,
    read_state,
    step_folder,
)
from pipeline.train.checkpoint_state import Best, TrainingState
from pipeline.train.checkpoint_writer import CheckpointWriter, prune_checkpoints
from tests.train.checkpoint_folders import files_at, names, resumed, state_at, write, write_best


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_best(tmp_path / "c", 1)
    folder = write(tmp_path / "c", 17, best=1)
    assert names(tmp_path / "c") == ["best-0001", "step-00000017"] and folder == tmp_path / "c" / "step-00000017"
    assert names(folder) == sorted([*FILES, STATE]) and names(tmp_path / "c/best-0001") == [STATE, "weights.npz"]
    state, files = read_checkpoint(folder)
    assert state == state_at(17, best=1) == read_state(folder)
    assert all(
        (files[name][key] == array).all() for name, values in files_at(17).items() for key, array in values.items()
    )
    assert (read_best(tmp_path / "c/best-0001")["w"] == 1).all()


@settings(max_examples=50)
@given(
    st.integers(1, 2**40),
    st.integers(0, 2**20),
    st.floats(0, 1),
    st.floats(allow_nan=False),
    st.lists(st.integers(0, 2**63 - 1), min_size=4, max_size=4),
    st.booleans(),
    st.text(max_size=8),
)
def test_every_state_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, steps: int, epoch: int, share: float, real: float, counts: list[int],
    collapsed: bool, text: str,
) -> None:  # fmt: skip
    step = epoch * steps + int(share * steps)
    state = TrainingState(step, epoch, steps, real, collapsed, Best(epoch, real, real, [counts[:2], counts[2:]], text))
    folder = tmp_path_factory.mktemp("c") / "step"
    CheckpointWriter(folder, {}).commit(state.to_json())
    assert read_state(folder) == state


def test_a_checkpoint_does_not_exist_before_it_is_committed(tmp_path: Path) -> None:
    writer = CheckpointWriter(step_folder(tmp_path, 1), files_at(1))
    assert not writer.folder.exists() and newest_resume_point(tmp_path) == (None, [])
    writer.commit(state_at(1).to_json())
    assert resumed(tmp_path).state.step == 1


def test_without_checkpoints_there_is_no_resume_point(tmp_path: Path) -> None:
    assert newest_resume_point(tmp_path) == newest_resume_point(tmp_path / "none") == (None, [])


@given(st.sets(st.integers(0, 99_999_999), min_size=1, max_size=5), st.sets(st.integers(0, 99_999_999), max_size=2))
def test_the_newest_comes_before_the_one_it_replaces(
    tmp_path_factory: pytest.TempPathFactory, steps: set[int], outdated: set[int]
) -> None:
    folder = tmp_path_factory.mktemp("c")
    for step in steps:
        step_folder(folder, step).mkdir()
    for step in outdated:
        folder.joinpath(f"{step_folder(folder, step).name}.outdated").mkdir()
    found = [path.name for path in newest_first(folder)]
    expected = sorted([(step, 1) for step in steps] + [(step, 0) for step in outdated], reverse=True)
    assert found == [f"step-{step:08d}{'' if new else '.outdated'}" for step, new in expected]


# ---- pruning


def test_pruning_keeps_the_newest_and_their_best_weights(tmp_path: Path) -> None:
    for epoch in (1, 2, 3):
        write_best(tmp_path, epoch)
    for step, best in ((10, 1), (20, 2), (25, 2), (30, 3), (35, 3)):
        write(tmp_path, step, best)
    tmp_path.joinpath(".step-00000040").mkdir()
    prune_checkpoints(step_folder(tmp_path, 35), 3)
    assert names(tmp_path) == ["best-0002", "best-0003", "step-00000025", "step-00000030", "step-00000035"]
    prune_checkpoints(step_folder(tmp_path, 35), 2)
    assert names(tmp_path) == ["best-0003", "step-00000030", "step-00000035"]
    prune_checkpoints(step_folder(tmp_path, 35), 5)
    assert names(tmp_path) == ["best-0003", "step-00000030", "step-00000035"]


@pytest.mark.parametrize("name", ["weights.npz", STATE])
@pytest.mark.parametrize("keep", [1, 2])
def test_a_damaged_later_checkpoint_displaces_no_new_one(tmp_path: Path, keep: int, name: str) -> None:
    """Training had resumed from a checkpoint before the damaged one."""
    write_best(tmp_path, 1)
    for step in (10, 20):
        write(tmp_path, step, best=1)
    content = bytearray((step_folder(tmp_path, 20) / name).read_bytes())
    content[len(content) // 2] ^= 1
    (step_folder(tmp_path, 20) / name).write_bytes(content)
    prune_checkpoints(write(tmp_path, 15, best=1), keep)
    assert names(tmp_path) == ["best-0001", *["step-00000010"][: keep - 1], "step-00000015"]
    assert resumed(tmp_path).state.step == 15


@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(st.integers(1, 40), st.none() | st.integers(1, 3)), min_size=1, max_size=5, unique_by=lambda x: x[0]
    ),
    st.integers(1, 4),
)
def test_training_resumes_from_whatever_pruning_kept(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[int, int | None]], keep: int
) -> None:
    folder = tmp_path_factory.mktemp("c")
    for epoch in (1, 2, 3):
        write_best(folder, epoch)
    for step, best in written:
        write(folder, step, best)
    newest = max(written)
    prune_checkpoints(step_folder(folder, newest[0]), keep)
    kept = sorted(written)[-keep:]
    bests = {best for _, best in kept if best is not None}
    assert names(folder) == [*(f"best-{best:04d}" for best in sorted(bests)), *(f"step-{step:08d}" for step, _ in kept)]
    for step, best in reversed(kept):
        assert resumed(folder).state == state_at(step, best)
        shutil.rmtree(step_folder(folder, step))
