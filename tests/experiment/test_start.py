"""What a resumed run may change, and what a longer run continues from."""

import contextlib
import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config.schema import Config, TrackingConfig
from pipeline.experiment.lineage import Lineage
from pipeline.experiment.resume import SCORE, Finished, Resumable, find_resumable
from pipeline.experiment.start import (
    begin_or_continue,
    check_config,
    check_data,
    check_initial,
    copy_checkpoint,
    longer_start,
    reopen,
)
from pipeline.runtime.errors import UserError
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Status
from pipeline.tracking.run_ref import RUNS, RunRef
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint import newest_resume_point
from tests.experiment.runs import CONFIG, begun, write_checkpoint

ABC = Resumable(RunRef(Path("abc")), CONFIG, "d", "f00")
LONGER = dataclasses.replace(CONFIG, epochs=8)


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---- what may change


def test_only_epochs_and_locations_may_change() -> None:
    moved = dataclasses.replace(
        CONFIG, epochs=9, data_dir="/there", dataset=dataclasses.replace(CONFIG.dataset, root="/data"),
        tracking=TrackingConfig(uri="http://host", experiment="y", run_name="z"),
    )  # fmt: skip
    check_config(ABC, moved)
    other = dataclasses.replace(CONFIG, seed=7, optimizer=dataclasses.replace(CONFIG.optimizer, ema=0.5))
    with pytest.raises(UserError) as raised:
        check_config(ABC, other)
    ema, seed = raised.value.faults
    assert ema.startswith("optimizer.ema=0.5: it is None in run abc, and a resumed run is the same run; only epochs")
    assert seed.startswith("seed=7: it is 0 in run abc") and seed.endswith("with other settings: rerun=<run id>")


def test_a_longer_run_may_stop_early_by_another_rule() -> None:
    check_config(ABC, dataclasses.replace(CONFIG, epochs=9, early_stopping=3))
    with pytest.raises(UserError, match="early_stopping=3: it is None in run abc"):
        check_config(ABC, dataclasses.replace(CONFIG, early_stopping=3))


def test_initial_weights_that_changed_are_refused() -> None:
    """Without a complete checkpoint the run starts from them again; its tags and its fingerprint name them."""
    check_initial(ABC, "f00")
    for other in ("f01", None):
        with pytest.raises(UserError, match=rf"resume=abc: has no checkpoint yet, .* \(SHA-256 f00, now {other}\)"):
            check_initial(ABC, other)


def test_data_that_changed_are_refused() -> None:
    check_data(ABC, "d")
    with pytest.raises(UserError, match=r"resume=abc: its data have changed since it began \(digest d, now e\)"):
        check_data(ABC, "e")
    check_data(dataclasses.replace(ABC, data_digest=None), "e")  # an older run did not record them


def test_a_run_that_another_process_resumed_is_refused() -> None:
    run = begun()
    found = find_resumable(run.key, None)
    with (
        contextlib.closing(Journal(run.folder)),
        pytest.raises(UserError, match=f"resume={run.key}: another process has resumed it already"),
    ):
        reopen(found, CONFIG)
    reopened = reopen(found, CONFIG)
    assert reopened.folder == run.folder
    reopened.journal.close()


# ---- a longer run


def finished() -> Resumable:
    return find_resumable(begun("FINISHED", 0.5).key, None)


def test_a_longer_run_gets_the_newest_complete_checkpoint() -> None:
    """And the weights of its best epoch."""
    run = finished()
    for step, best in ((10, 1), (20, 2)):
        write_checkpoint(run.checkpoints, step, best)
    newest = longer_start(run, LONGER)
    copy_checkpoint(newest, Path("new"))
    assert sorted(path.name for path in Path("new").iterdir()) == ["best-0002", "step-00000020"]
    start, notes = newest_resume_point(Path("new"))
    assert start is not None and start.state.step == 20 and notes == []
    assert start.sha256 == newest.sha256

    (run.checkpoints / "step-00000020/optimizer.npz").write_bytes(b"damaged")
    before = longer_start(run, LONGER)
    copy_checkpoint(before, Path("before"))
    assert before.sha256 != newest.sha256
    assert sorted(path.name for path in Path("before").iterdir()) == ["best-0001", "step-00000010"]


def test_a_longer_run_has_more_epochs() -> None:
    run = finished()
    write_checkpoint(run.checkpoints)
    with pytest.raises(UserError, match=r"epochs=2: run .* has trained 2 epochs; more than that expected"):
        longer_start(run, dataclasses.replace(CONFIG, epochs=2))


def test_epochs_of_a_longer_run_have_as_many_steps() -> None:
    config = dataclasses.replace(CONFIG, steps=40)  # in four epochs, of ten each
    run = find_resumable(begun("FINISHED", 0.5, config=config).key, None)
    write_checkpoint(run.checkpoints)
    longer = dataclasses.replace(config, epochs=8, steps=80)
    check_config(run, longer)
    assert longer_start(run, longer).state.step == 20
    for epochs, steps, expected in (
        (4, 80, "epochs=8 or steps=40 expected"),
        (8, 40, "epochs=4 or steps=80 expected"),
        (8, 20, "have 10 steps each; steps=80 expected"),
        (4, 44, "have 10 steps each; steps=40 expected"),
        (8, None, "steps=null: it is 40 in run .*: a number in both, or in neither"),
    ):
        with pytest.raises(UserError, match=expected):
            longer_start(run, dataclasses.replace(config, epochs=epochs, steps=steps))


def test_a_run_that_stopped_early_needs_another_rule() -> None:
    run = finished()
    write_checkpoint(run.checkpoints, step=30, best=1)
    impatient = dataclasses.replace(LONGER, early_stopping=2)
    with pytest.raises(
        UserError, match=r"early_stopping=2: it ended run .* after epoch 3; a larger number, or null, ex"
    ):
        longer_start(run, impatient)
    assert longer_start(run, dataclasses.replace(impatient, early_stopping=3)).state.epoch == 3


def test_a_run_that_has_learnt_its_images_is_not_trained_longer() -> None:
    overfit = dataclasses.replace(LONGER, overfit=True)
    run = finished()
    write_checkpoint(run.checkpoints, step=30, mean_iou=0.94)
    assert longer_start(run, overfit).state.epoch == 3
    write_checkpoint(run.checkpoints, step=40, mean_iou=0.96)
    with pytest.raises(UserError, match=r"epochs=8: run .* has learnt its images after epoch 4, which is all"):
        longer_start(run, overfit)


@pytest.mark.parametrize("seconds", [0.02, 61.3, 8640.0])
def test_the_advised_minutes_are_enough(seconds: float) -> None:
    run = finished()
    write_checkpoint(run.checkpoints, seconds=seconds)
    with pytest.raises(UserError) as raised:
        longer_start(run, dataclasses.replace(LONGER, max_minutes=1e-6))
    (minutes,) = re.findall(r"more than ([\d.]+), or null, expected", raised.value.faults[0])
    assert longer_start(run, dataclasses.replace(LONGER, max_minutes=float(minutes) + 1e-6)).state.epoch == 2


def test_a_longer_run_needs_a_complete_checkpoint() -> None:
    run = finished()
    with pytest.raises(UserError, match="has no complete checkpoint in"):
        longer_start(run, LONGER)
    write_checkpoint(run.checkpoints)
    (run.checkpoints / "step-00000020/state.json").unlink()
    with pytest.raises(UserError, match="has no complete checkpoint in") as raised:
        longer_start(run, LONGER)
    assert "state.json: is damaged or missing" in raised.value.faults[1]


# ---- new, resumed, longer or finished


Start = Callable[..., TrackedRun | Finished]


@pytest.fixture
def start() -> Start:
    """start(config, lineage, digest) begins or continues a run; journals are closed again."""

    def start(config: Config, lineage: Lineage, digest: str = "d") -> TrackedRun | Finished:
        dataset: Any = SimpleNamespace(checked=SimpleNamespace(digest=digest))
        run = begin_or_continue(config, ["seed=0"], dataset, None, None, lineage)
        if isinstance(run, TrackedRun):
            run.journal.close()
        return run

    return start


def test_a_command_without_lineage_begins_a_new_run(start: Start) -> None:
    begun()
    run = start(CONFIG, Lineage())
    assert isinstance(run, TrackedRun) and run.journal.begin.tags.keys() == {"schema", "fingerprint", "data_digest"}
    assert run.journal.begin.overrides == ["seed=0"] and len(list(RUNS.iterdir())) == 2


@pytest.mark.parametrize("auto", [False, True])
def test_an_interrupted_run_is_continued_under_its_name(start: Start, auto: bool) -> None:
    first = start(CONFIG, Lineage())
    assert isinstance(first, TrackedRun)
    with contextlib.closing(Journal(first.folder)) as journal:
        journal.append(Status("KILLED"))
    lineage = Lineage(auto=True) if auto else Lineage(resume=find_resumable(first.key, None))
    run = start(CONFIG, lineage)
    assert isinstance(run, TrackedRun) and run.key == first.key
    with pytest.raises(UserError, match="its data have changed") if not auto else contextlib.nullcontext():
        other = start(CONFIG, lineage, digest="e")  # with other data, `resume=auto` finds no such run
        assert isinstance(other, TrackedRun) and other.key != first.key


def test_a_finished_run_is_not_continued(start: Start) -> None:
    """What is left of it is sent."""
    run = finished()
    assert start(CONFIG, Lineage(resume=run)) == Finished(run.run.key, {"train/loss": 0.5, SCORE: 0.5})
    assert run.run.unsent() == 0


def test_more_epochs_begin_a_run_that_continues(start: Start) -> None:
    run = finished()
    write_checkpoint(run.checkpoints)
    longer = start(LONGER, Lineage(resume=run))
    assert isinstance(longer, TrackedRun) and longer.key != run.run.key
    tags = longer.journal.begin.tags
    new = start(LONGER, Lineage())
    assert tags["resumed_from"] == run.name
    assert isinstance(new, TrackedRun) and tags["fingerprint"] != new.journal.begin.tags["fingerprint"]
    assert newest_resume_point(longer.folder / "checkpoints")[0] is not None


def test_a_longer_run_that_is_refused_leaves_no_folder(start: Start) -> None:
    run = finished()
    before = list(RUNS.iterdir())
    with pytest.raises(UserError, match="has no complete checkpoint"):
        start(LONGER, Lineage(resume=run))
    assert list(RUNS.iterdir()) == before
