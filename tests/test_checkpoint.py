"""Named weights, their hash, and checkpoints that are complete or absent whenever the process dies."""

import hashlib
import io
import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline import checkpoint
from pipeline.checkpoint import (
    Arrays,
    named_weights,
    optimizer_arrays,
    read_arrays,
    recover_checkpoint,
    set_weights,
    weights_sha256,
    write_checkpoint,
)
from pipeline.config import ModelConfig
from pipeline.errors import UserError
from pipeline.model.unet import build_unet


def arrays() -> Arrays:
    return {
        "logits/bias": np.array([0.5, -1.25], np.float32),
        "encoder_0_conv_0/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
        "step": np.array(7, np.int64),
    }


# ---- the hash


def test_known_hash() -> None:
    """A change here means that no old run's weights are recognised."""
    digest = hashlib.sha256()
    digest.update(b'["encoder_0_conv_0/kernel", "float32", [2, 3]]')
    digest.update(b"".join(bytes.fromhex(f"{value:>08}") for value in ("0", "0000803f", "00000040", "00004040")))
    digest.update(bytes.fromhex("000080400000a040"))
    digest.update(b'["logits/bias", "float32", [2]]' + bytes.fromhex("0000003f0000a0bf"))
    digest.update(b'["step", "int64", []]' + bytes.fromhex("0700000000000000"))
    assert weights_sha256(arrays()) == digest.hexdigest()
    assert digest.hexdigest() == "eee46b57f0527d68b53babbd40cfdef568e72c83e97ccf08b7485c073ee5d358"


def test_hash_is_of_the_content_not_of_order_or_memory_layout() -> None:
    expected = weights_sha256(arrays())
    assert weights_sha256(dict(reversed(arrays().items()))) == expected
    other = arrays()
    other["encoder_0_conv_0/kernel"] = np.asfortranarray(other["encoder_0_conv_0/kernel"])
    assert weights_sha256(other) == expected
    wide = np.zeros((2, 6), np.float32)
    wide[:, ::2] = arrays()["encoder_0_conv_0/kernel"]
    assert weights_sha256({**other, "encoder_0_conv_0/kernel": wide[:, ::2]}) == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda given: given.pop("step"),
        lambda given: given.update({"more": np.zeros(0, np.float32)}),
        lambda given: given.update({"steps": given.pop("step")}),
        lambda given: given.update({"step": np.array(7, np.int32)}),
        lambda given: given.update({"step": np.array([7], np.int64)}),
        lambda given: given.update({"step": np.array(8, np.int64)}),
        lambda given: given.update({"logits/bias": np.array([0.5, np.nextafter(np.float32(-1.25), 0)], np.float32)}),
        lambda given: given.update({"logits/bias": given["logits/bias"].reshape(2, 1)}),
        lambda given: given.update({"logits/bias": given["logits/bias"].view(np.int32)}),
        lambda given: given.update({"encoder_0_conv_0/kernel": given["encoder_0_conv_0/kernel"].reshape(3, 2)}),
        lambda given: given.update({"encoder_0_conv_0/kernel": -0.0 * given["encoder_0_conv_0/kernel"]}),
    ],
)
def test_hash_sees_every_name_type_shape_and_bit(change: Callable[[Arrays], Any]) -> None:
    changed = arrays()
    change(changed)
    assert weights_sha256(changed) != weights_sha256(arrays())


# ---- a network's weights


def network(seed: int = 0, width: int = 2) -> keras.Model:
    return build_unet(ModelConfig("unet", 1, width, "batch", 0.5, "bilinear"), 2, seed=seed)


def test_weights_go_from_one_network_into_another() -> None:
    one, other = network(0), network(1)
    taken = named_weights(one)
    assert {"encoder_0_conv_0/kernel", "encoder_0_norm_0/moving_variance", "logits/bias"} <= taken.keys()
    assert len(taken) == len(one.weights)
    assert weights_sha256(taken) != weights_sha256(named_weights(other))
    set_weights(other, taken, "here")
    assert weights_sha256(named_weights(other)) == weights_sha256(taken)


def test_named_weights_are_a_copy() -> None:
    """What was kept of the best epoch must not follow the training."""
    model = network()
    taken = named_weights(model)
    before = weights_sha256(taken)
    for weight in model.weights:
        weight.assign(weight + 1)
    assert weights_sha256(taken) == before


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda given: given.pop("logits/bias"), "here: has no weights 'logits/bias', which the network has"),
        (
            lambda given: given.update({"extra/kernel": np.zeros(1)}),
            "here: has weights 'extra/kernel', which the network has not",
        ),
        (
            lambda given: given.update({"logits/bias": np.zeros(3, np.float32)}),
            "here: 'logits/bias' is float32 (3,), but the network has float32 (2,)",
        ),
        (
            lambda given: given.update({"logits/bias": np.zeros(2, np.float64)}),
            "here: 'logits/bias' is float64 (2,), but the network has float32 (2,)",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_and_nothing_is_changed(
    change: Callable[[Arrays], Any], fault: str
) -> None:
    model = network()
    before = weights_sha256(named_weights(model))
    given = named_weights(network(1))
    change(given)
    with pytest.raises(UserError) as caught:
        set_weights(model, given, "here")
    assert list(caught.value.faults) == [fault]
    assert weights_sha256(named_weights(model)) == before


def test_a_wholly_other_network_is_told_in_few_lines() -> None:
    with pytest.raises(UserError) as caught:
        set_weights(network(), named_weights(network(width=3)), "here")
    assert len(caught.value.faults) == 5


def test_every_variable_of_an_optimizer_is_kept() -> None:
    model = network()
    optimizer = keras.optimizers.Adam(0.1, use_ema=True)
    optimizer.apply([keras.ops.ones(weight.shape) for weight in model.trainable_variables], model.trainable_variables)
    kept = optimizer_arrays(optimizer)
    assert len(kept) == len(optimizer.variables) >= 3 * len(model.trainable_variables) + 1
    assert [int(value) for name, value in kept.items() if name.endswith("/iteration")] == [1]


# ---- a checkpoint on disk


def whole(folder: Path) -> dict[str, Any]:
    """The state of a checkpoint all of whose files are what it says they are."""
    state: dict[str, Any] = json.loads((folder / "state.json").read_text())
    assert {path.name for path in folder.iterdir()} == {"state.json", *state["sha256"]}
    for name, digest in state["sha256"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    weights = read_arrays(folder / "weights.npz")
    assert (weights["w"] == state["epoch"]).all()
    if "optimizer.npz" in state["sha256"]:
        assert (read_arrays(folder / "optimizer.npz")["m"] == -state["epoch"]).all()
    return state


def write(folder: Path, epoch: int) -> None:
    weights = {"w": np.full((3, 4), epoch, np.float32)}
    write_checkpoint(folder, {"epoch": epoch}, weights, {"m": np.full(5, -epoch, np.float32)})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "a" / "best", {"epoch": 3, "val_mean_iou": 0.25}, arrays())
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["best"]
    assert {path.name for path in (tmp_path / "a" / "best").iterdir()} == {"weights.npz", "state.json"}
    read = read_arrays(tmp_path / "a" / "best" / "weights.npz")
    assert weights_sha256(read) == weights_sha256(arrays())
    state = json.loads((tmp_path / "a" / "best" / "state.json").read_text())
    assert state["epoch"] == 3 and state["val_mean_iou"] == 0.25 and list(state["sha256"]) == ["weights.npz"]


def test_a_new_checkpoint_replaces_all_of_the_old_one(tmp_path: Path) -> None:
    write(tmp_path / "last", 1)
    write_checkpoint(tmp_path / "last", {"epoch": 2}, {"w": np.full(1, 2, np.float32)})
    assert whole(tmp_path / "last")["epoch"] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


class Killed(BaseException):
    """Stands for SIGKILL: nothing after it runs, and nothing catches it."""


# What a write does to the disk, in order; each may be the last thing that happens.
STEPS = ["mkdir", "savez", "fsync", "savez", "fsync", "fsync", "rename", "rename", "rmtree"]


def killed_at(step: int, after: bool, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Die before or after the given step; the steps done so far are noted in the list that is returned."""
    done: list[str] = []

    def dying(name: str, original: Callable[..., Any]) -> Callable[..., Any]:
        def replacement(*arguments: Any, **options: Any) -> Any:
            if name == "rmtree" and not Path(arguments[0]).exists():
                return None  # there was nothing to clear away
            if len(done) == step and not after:
                raise Killed
            if name == "savez" and len(done) == step:
                arguments[0].write(b"PK\x03\x04 half a file")
                raise Killed
            value = original(*arguments, **options)
            done.append(name)
            if len(done) == step + 1 and after:
                raise Killed
            return value

        return replacement

    monkeypatch.setattr(Path, "mkdir", dying("mkdir", Path.mkdir))
    monkeypatch.setattr(Path, "rename", dying("rename", Path.rename))
    monkeypatch.setattr(checkpoint.np, "savez", dying("savez", np.savez))
    monkeypatch.setattr(os, "fsync", dying("fsync", os.fsync))
    monkeypatch.setattr(shutil, "rmtree", dying("rmtree", shutil.rmtree))
    return done


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(len(STEPS)), ids=[f"{number}-{name}" for number, name in enumerate(STEPS)])
def test_killed_at_any_step_the_old_or_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, after: bool
) -> None:
    folder = tmp_path / "last"
    write(folder, 1)
    with monkeypatch.context() as patch:
        done = killed_at(step, after, patch)
        with pytest.raises(Killed):
            write(folder, 2)
    assert done == STEPS[: len(done)] and len(done) >= step
    for reader_first in (True, False):
        copy = tmp_path / f"copy{reader_first}" / "last"
        for path in [path for path in tmp_path.iterdir() if "last" in path.name]:
            shutil.copytree(path, copy.parent / path.name)
        if reader_first:
            recover_checkpoint(copy)
            new = step > 7 or (step == 7 and after)  # the second rename is what makes it the new one
            assert whole(copy)["epoch"] == (2 if new else 1)
        write(copy, 3)  # whatever was left lying is cleared away
        assert whole(copy)["epoch"] == 3
        assert [path.name for path in copy.parent.iterdir()] == ["last"]


@pytest.mark.parametrize("second", range(5))
def test_killed_twice_in_the_worst_instant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: int) -> None:
    """Between the renames, and again early in the next write: the old one is not among what that clears away."""
    write(tmp_path / "last", 1)
    for step in (STEPS.index("rename"), second):
        with monkeypatch.context() as patch:
            killed_at(step, True, patch)
            with pytest.raises(Killed):
                write(tmp_path / "last", 2)
    recover_checkpoint(tmp_path / "last")
    assert whole(tmp_path / "last")["epoch"] == 1


def test_killed_while_the_first_one_is_written_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        killed_at(3, False, patch)
        with pytest.raises(Killed):
            write(tmp_path / "last", 1)
    recover_checkpoint(tmp_path / "last")
    assert not (tmp_path / "last").exists()


def test_recovering_changes_nothing_where_all_is_well(tmp_path: Path) -> None:
    recover_checkpoint(tmp_path / "last")
    assert not list(tmp_path.iterdir())
    write(tmp_path / "last", 1)
    recover_checkpoint(tmp_path / "last")
    assert whole(tmp_path / "last")["epoch"] == 1


def test_a_full_disk_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "last", 1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            write(tmp_path / "last", 2)
    assert whole(tmp_path / "last")["epoch"] == 1


# ---- hostile and damaged files


class Payload:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.folder),)


def npz_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_pickled_objects_are_refused_without_being_loaded(tmp_path: Path) -> None:
    payload = Payload(tmp_path / "made")
    np.savez(tmp_path / "a.npz", w=np.array([payload], object))
    (tmp_path / "b.npz").write_bytes(pickle.dumps(payload))
    npz_of(tmp_path / "c.npz", {"w": pickle.dumps(payload)})
    for name in ("a", "b"):
        with pytest.raises(UserError, match=rf"{name}\.npz: cannot be read as named arrays"):
            read_arrays(tmp_path / f"{name}.npz")
    read_arrays(tmp_path / "c.npz")
    assert not payload.folder.exists()
    pickle.loads(pickle.dumps(payload))
    assert payload.folder.exists()  # it would have shown


def test_a_truncated_file_is_refused_wherever_it_is_cut(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **arrays())
    content = (tmp_path / "w.npz").read_bytes()
    for length in range(0, len(content), 37):
        (tmp_path / "w.npz").write_bytes(content[:length])
        with pytest.raises(UserError, match=r"w\.npz: cannot be read"):
            read_arrays(tmp_path / "w.npz")


def test_a_changed_byte_of_an_array_is_found(tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", w=np.arange(100, dtype=np.float32))
    content = bytearray((tmp_path / "w.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read"):
        read_arrays(tmp_path / "w.npz")


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"none\.npz: cannot be read"):
        read_arrays(tmp_path / "none.npz")
    with pytest.raises(UserError, match="cannot be read"):
        read_arrays(tmp_path)
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(UserError, match="cannot be read"):
        read_arrays(tmp_path / "single.npy")


def test_a_member_that_is_no_array_never_becomes_a_weight(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.save(content, np.zeros(2, np.float32))
    path = npz_of(tmp_path / "w.npz", {"w.npy": content.getvalue(), "logits/bias": b"no array"})
    read = read_arrays(path)
    assert all(isinstance(values, np.ndarray) for values in read.values())
    with pytest.raises(UserError, match="'logits/bias' is"):
        set_weights(network(), {**named_weights(network()), "logits/bias": read["logits/bias"]}, "here")
