"""Which run is resumed, when it is refused, on this machine."""

import contextlib
import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config, TrackingConfig
from pipeline.experiment.lineage import Lineage
from pipeline.experiment.resume import (
    SCORE,
    Finished,
    Resumable,
    check_initial,
    check_unchanged,
    find_resumable,
    find_same,
    finished_already,
    refuse_if_alive,
    reopen,
    take_over,
)
from pipeline.model.weights import weights_sha256
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import STALE_AFTER, Process
from pipeline.tracking.delivery import write_position
from pipeline.tracking.journal import Journal
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint import best_folder, newest_resume_point, step_folder
from pipeline.train.checkpoint_writer import CheckpointWriter
from tests.train.checkpoint_folders import files_at

CONFIG = checked_config(["precision=float32", "threads=2", "epochs=4", "dataset.classes=[a,b]"])
DEAD = {"host": Process.this().host, "boot": Process.this().boot, "pid": 2**22 + 1, "started": 1.0}
ELSEWHERE = {"host": "another machine", "boot": "x", "pid": 1, "started": 1.0}


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def begun(
    status: str | None = "KILLED", score: float | None = None, process: dict[str, Any] = DEAD, id: str | None = None,
    config: Config = CONFIG, **tags: str,
) -> Path:  # fmt: skip
    """A run's folder under mlruns/: begun by a process, and ended, unless its status is None."""
    run = TrackedRun.begin(
        config.tracking, "name", {"fingerprint": "f", "data_digest": "d", **tags},
        OmegaConf.to_yaml(OmegaConf.structured(config)), [],
    )  # fmt: skip
    run.journal.append("process", process=process)
    if score is not None:
        run.log_metrics({"train/loss": 2 * score}, step=1)
        run.log_metrics({"train/loss": score, "best/val_mean_iou": score}, step=2)
    if status is not None:
        run.journal.append("status", status=status)
    if id is not None:
        write_position(run.folder, id, len(run.journal.records))
    run.journal.close()
    return run.folder


def write_checkpoint(checkpoints: Path, step: int = 20, best: int = 1) -> None:
    """A checkpoint of epochs of ten steps, and the best epoch's weights."""
    weights = files_at(best)["weights.npz"]
    CheckpointWriter(best_folder(checkpoints, best), {"weights.npz": weights}).commit({"epoch": best})
    state = {
        "step": step, "epoch": step // 10, "steps_per_epoch": 10, "seconds": 1.5, "told_collapse": False,
        "best": {
            "epoch": best, "mean_iou": 0.5, "loss": 1.0, "confusion_matrix": [[3, 1], [0, 2]],
            "weights_sha256": weights_sha256(weights),
        },
    }  # fmt: skip
    CheckpointWriter(step_folder(checkpoints, step), files_at(step)).commit(state)


# ---- a run on this machine


def test_a_run_is_found_by_its_key_or_its_id_with_all_that_its_journal_says() -> None:
    folder = begun(id="abc")
    begun(id="def")
    for name in (folder.name, "abc"):
        found = find_resumable(name, None)
        assert (found.name, found.folder, found.status, found.data_digest) == ("abc", folder, "KILLED", "d")
        assert found.config == dataclasses.replace(CONFIG, tracking=TrackingConfig(None, "segmentation", None))


def test_a_run_keeps_its_name_and_the_hash_of_what_it_started_from() -> None:
    named = dataclasses.replace(CONFIG, tracking=TrackingConfig(None, "segmentation", "mine"))
    found = find_resumable(begun(config=named, initial_weights_sha256="f00").name, None)
    assert (found.config.tracking.run_name, found.initial_sha256) == ("mine", "f00")


def test_what_it_started_from_is_not_needed_where_a_checkpoint_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be gone: a run that was deleted, a server that does not answer, a file on another machine."""
    from pipeline.experiment import initial_weights

    def gone(config: Config, original: None) -> None:
        raise UserError("init_from=abc: no run has this id")

    monkeypatch.setattr(initial_weights, "requested_weights", gone)
    config = dataclasses.replace(CONFIG, init_from="abc")
    folder = begun(config=config, initial_weights_sha256="f00")
    origin = Lineage(resume=find_resumable(folder.name, None))
    with pytest.raises(UserError, match="init_from=abc"):
        initial_weights.find_initial_weights(config, origin)
    write_checkpoint(folder / "checkpoints")
    assert initial_weights.find_initial_weights(config, origin) == (None, "f00")


def test_a_run_that_no_server_knows_yet_goes_by_its_key() -> None:
    folder = begun()
    assert find_resumable(folder.name, None).name == folder.name


def test_the_address_that_is_given_is_where_the_run_goes_on() -> None:
    folder = begun(config=dataclasses.replace(CONFIG, tracking=TrackingConfig("http://ada:x@host", "y", None)))
    assert find_resumable(folder.name, "http://ada:x@host").config.tracking == TrackingConfig("http://ada:x@host", "y")
    with pytest.raises(UserError, match=r"tracking\.uri=http://\*\*\*@host: the journal keeps no password"):
        find_resumable(folder.name, None)


def test_a_run_whose_journal_another_process_writes_is_alive() -> None:
    folder = begun(status=None)
    with contextlib.closing(Journal(folder)):
        with pytest.raises(UserError, match=rf"^resume={folder.name}: is still alive on .* \(pid {DEAD['pid']}\); it"):
            find_resumable(folder.name, None)
        with pytest.raises(UserError, match="another process continues it already"):
            reopen(Resumable("x", CONFIG, folder, "RUNNING", "d"), CONFIG, "d")
    assert find_resumable(folder.name, None).status == "RUNNING"  # its process is gone


def test_of_a_folder_that_machines_share_the_heartbeat_tells_who_is_alive() -> None:
    folder = begun(status=None, process=ELSEWHERE)
    beat = folder / "heartbeat"
    beat.touch()
    with pytest.raises(UserError, match=r"is still alive on another \(pid 1\), heard of \d s ago"):
        find_resumable(folder.name, None)
    os.utime(beat, (time.time() - STALE_AFTER - 5,) * 2)
    assert find_resumable(folder.name, None).folder == folder


@pytest.mark.parametrize(
    ("process", "silent", "alive"),
    [
        (None, 0.0, False),
        (Process(**ELSEWHERE), 3.0, True),
        (Process(**ELSEWHERE), STALE_AFTER + 1, False),
        (Process(**ELSEWHERE), float("inf"), False),
        (Process(**ELSEWHERE), float("nan"), False),
        (Process(**ELSEWHERE), -1000.0, True),  # a clock that is late
        (Process(**DEAD), 3.0, False),  # it can be looked up, so it needs no heartbeat
        (Process.this(), float("inf"), True),
        (dataclasses.replace(Process.this(), boot="another"), 3.0, True),
        (dataclasses.replace(Process.this(), started=5.0), 3.0, False),  # its id was given out again
    ],
)
def test_who_counts_as_alive(process: Process | None, silent: float, alive: bool) -> None:
    with pytest.raises(UserError, match="is still alive") if alive else contextlib.nullcontext():
        refuse_if_alive("x", process, silent)


# ---- what may be changed


def test_nothing_but_epochs_and_where_runs_and_data_lie_may_change() -> None:
    run = Resumable("abc", CONFIG, Path("x"), "KILLED", "d")
    moved = dataclasses.replace(
        CONFIG, epochs=9, data_dir="/there", tracking=TrackingConfig("http://host", "y", "z"),
        dataset=dataclasses.replace(CONFIG.dataset, root="/data"),
    )  # fmt: skip
    check_unchanged(run, moved)
    with pytest.raises(UserError) as told:
        check_unchanged(
            run, dataclasses.replace(CONFIG, seed=7, optimizer=dataclasses.replace(CONFIG.optimizer, ema=0.5))
        )
    ema, seed = told.value.faults
    assert ema.startswith("optimizer.ema=0.5: it is None in run abc, and a resumed run is the same run; only epochs")
    assert seed.startswith("seed=7: it is 0 in run abc") and seed.endswith("with other settings: rerun=<run id>")


def test_a_longer_run_may_stop_early_by_another_rule() -> None:
    run = Resumable("abc", CONFIG, Path("x"), "FINISHED", "d")
    check_unchanged(run, dataclasses.replace(CONFIG, epochs=9, early_stopping=3))
    with pytest.raises(UserError, match="early_stopping=3: it is None in run abc"):
        check_unchanged(run, dataclasses.replace(CONFIG, early_stopping=3))


def test_what_a_run_started_from_must_be_what_it_was() -> None:
    """Where no checkpoint is whole it starts from that again, and its tags and its fingerprint say what that is."""
    run = Resumable("abc", CONFIG, Path("x"), "KILLED", "d", "f00")
    check_initial(run, "f00")
    for other in ("f01", None):
        with pytest.raises(UserError, match=f"resume=abc: has no checkpoint yet, .* \\(SHA-256 f00, now {other}\\)"):
            check_initial(run, other)


def test_a_finished_run_has_its_score_and_no_other_has() -> None:
    found = find_resumable(begun("FINISHED", 0.25, id="abc").name, None)
    assert finished_already(found) == Finished("abc", {"train/loss": 0.25, SCORE: 0.25})
    assert finished_already(find_resumable(begun("KILLED", 0.25).name, None)) is None
    assert finished_already(find_resumable(begun("FINISHED").name, None)) is None


def test_other_data_are_refused_and_a_run_that_did_not_say_its_data_is_not() -> None:
    folder = begun()
    run = find_resumable(folder.name, None)
    for go_on in (lambda run: reopen(run, CONFIG, "e"), lambda run: take_over(run, CONFIG, "e", Path("new"))):
        with pytest.raises(UserError, match=r"its data are not what they were .*\(digest d, now e\)"):
            go_on(run)
    reopened = reopen(dataclasses.replace(run, data_digest=None), CONFIG, "e")
    assert reopened.folder == folder
    reopened.journal.close()


# ---- a longer run


def test_a_longer_run_takes_over_the_newest_whole_checkpoint_and_its_best_weights() -> None:
    folder = begun("FINISHED", 0.5)
    for step, best in ((10, 1), (20, 2)):
        write_checkpoint(folder / "checkpoints", step, best)
    run, longer = find_resumable(folder.name, None), dataclasses.replace(CONFIG, epochs=8)
    taken = take_over(run, longer, "d", Path("new"))
    assert sorted(path.name for path in Path("new").iterdir()) == ["best-0002", "step-00000020"]
    start, notes = newest_resume_point(Path("new"))
    assert start is not None and start.state.step == 20 and notes == []
    assert start.sha256 == taken.sha256

    (folder / "checkpoints/step-00000020/optimizer.npz").write_bytes(b"damaged")
    assert take_over(run, longer, "d", Path("before")).sha256 != taken.sha256
    assert sorted(path.name for path in Path("before").iterdir()) == ["best-0001", "step-00000010"]


def test_a_longer_run_is_longer() -> None:
    folder = begun("FINISHED", 0.5)
    write_checkpoint(folder / "checkpoints")
    run = find_resumable(folder.name, None)
    with pytest.raises(UserError, match=r"epochs=2: run .* has trained 2 epochs; more than that expected"):
        take_over(run, dataclasses.replace(CONFIG, epochs=2), "d", Path("new"))
    assert not Path("new").exists()


def test_a_run_that_stopped_early_goes_on_by_another_rule_alone() -> None:
    folder = begun("FINISHED", 0.5)
    write_checkpoint(folder / "checkpoints", step=30, best=1)
    run = find_resumable(folder.name, None)
    impatient = dataclasses.replace(CONFIG, epochs=8, early_stopping=2)
    with pytest.raises(UserError, match=r"early_stopping=2: run .* ended by it after epoch 3; more, or null, expected"):
        take_over(run, impatient, "d", Path("new"))
    assert not Path("new").exists()
    assert take_over(run, dataclasses.replace(impatient, early_stopping=3), "d", Path("new")).state.epoch == 3


def test_without_a_whole_checkpoint_there_is_nothing_to_take_over() -> None:
    run = find_resumable(begun().name, None)
    with pytest.raises(UserError, match="has no whole checkpoint in"):
        take_over(run, CONFIG, "d", Path("new"))
    write_checkpoint(run.folder / "checkpoints")
    (run.folder / "checkpoints/step-00000020/state.json").unlink()
    with pytest.raises(UserError, match="has no whole checkpoint in") as told:
        take_over(run, CONFIG, "d", Path("new"))
    assert "state.json: is damaged or missing" in told.value.faults[1]


# ---- resume=auto


def test_the_same_run_is_one_with_the_fingerprint_in_the_experiment() -> None:
    begun(fingerprint="g")
    begun(config=dataclasses.replace(CONFIG, tracking=TrackingConfig(None, "other", None)))
    begun("FAILED")
    begun(None)
    assert find_same("f", "segmentation", None) is None
    folder = begun()
    found = find_same("f", "segmentation", None)
    assert isinstance(found, Resumable) and found.folder == folder
    begun("FINISHED", 0.25, id="abc")
    assert find_same("f", "segmentation", None) == Finished("abc", {"train/loss": 0.25, SCORE: 0.25})


def test_the_newest_interrupted_run_that_is_not_alive_is_taken() -> None:
    folders = [begun() for _ in range(3)]
    for age, folder in enumerate(reversed(folders)):
        os.utime(folder / "journal.jsonl", (time.time() - 10 * age,) * 2)
    with contextlib.closing(Journal(folders[2])):
        found = find_same("f", "segmentation", None)
    assert isinstance(found, Resumable) and found.folder == folders[1]
