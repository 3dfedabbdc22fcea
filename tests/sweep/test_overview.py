"""The sweep's own run: what varies, its data, the best score so far, and the counts, whatever was logged before."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from pipeline.config.overrides import checked_config
from pipeline.sweep.overview import Overview, ranges
from pipeline.sweep.trial_job import TrialResult
from pipeline.sweep.worker.protocol import DataChecked
from pipeline.tracking.records import DatasetUsed, Params, Tags, View
from pipeline.tracking.tracked_run import TrackedRun

VARYING = {"model.width": "4,8", "optimizer.learning_rate": "tag(log,interval(1e-4,1e-2))"}
DATA = DataChecked({}, "shapes", "/data/shapes", {"train": "0a", "val": "0b"})


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TrackedRun]:
    monkeypatch.chdir(tmp_path)
    run = TrackedRun.begin(checked_config([]).tracking, "n", {}, "", [])
    yield run
    run.journal.close()


def overview(run: TrackedRun, *overrides: str) -> Overview:
    return Overview(run, "s", checked_config(list(overrides)), VARYING)


def tags(run: TrackedRun) -> dict[str, str]:
    found: dict[str, str] = {}
    for record in run.journal.of(Tags):
        found |= record.values
    return found


def finished(score: float, label: str = "") -> TrialResult:
    return TrialResult(label, "finished", {"best/val_mean_iou": score, "val/loss": 1 - score}, run=f"run of {score}")


def test_ranges_are_as_they_were_typed() -> None:
    typed = [f"{key}={values}" for key, values in VARYING.items()]
    assert ranges(OverridesParser.create().parse_overrides([*typed, "epochs=2", "+x=1,2"])) == {**VARYING, "x": "1,2"}


def test_ranges_are_parameters_of_a_new_run_only(run: TrackedRun) -> None:
    """MLflow refuses a parameter that changes, and a later start may have other ranges."""
    for new in (True, True, False):
        overview(run).describe([DATA], new)
    (params,) = run.journal.of(Params)
    assert params.values == VARYING
    assert tags(run)["varies"] == "model.width=4,8 optimizer.learning_rate=tag(log,interval(1e-4,1e-2))"
    assert [(used.name, used.digest) for used in run.journal.of(DatasetUsed)] == [
        ("shapes-train", "0a"),
        ("shapes-val", "0b"),
    ]
    assert len(run.journal.of(View)) == 1


def test_the_best_score_so_far_has_the_trials_number_as_step(run: TrackedRun) -> None:
    shown = overview(run)
    results = {0: TrialResult("a", "failed"), 1: finished(0.5)}
    shown.update(results)
    results |= {2: finished(0.25), 4: finished(0.75, "width=8"), 3: TrialResult("p", "pruned", {"val/loss": 1.0})}
    shown.update(results)
    assert run.journal.history() == {"best/val_mean_iou": {2: 0.5, 3: 0.5, 4: 0.5, 5: 0.75}}
    found = tags(run)
    assert (found["trials"], found["finished_trials"], found["pruned_trials"], found["failed_trials"]) == (*"5311",)
    assert (found["best_trial"], found["best_run"], found["best_values"]) == ("5", "run of 0.75", "width=8")


def test_a_trial_that_ends_after_later_ones_corrects_the_best_score(run: TrackedRun) -> None:
    """As a failed one does that is retried."""
    shown = overview(run)
    results = {0: finished(0.25), 1: TrialResult("a", "failed"), 2: finished(0.5), 3: finished(0.25)}
    shown.update(results)
    shown.update(results | {1: finished(0.75)})
    assert run.journal.history() == {"best/val_mean_iou": {1: 0.25, 2: 0.75, 3: 0.75, 4: 0.75}}
    assert tags(run)["best_run"] == "run of 0.75"
    count = len(run.journal.records)
    shown.update(results | {1: finished(0.75)})
    assert len(run.journal.records) == count + 1  # the tags alone


def test_a_loss_is_minimised_and_several_objectives_have_no_best_trial(run: TrackedRun) -> None:
    overview(run, "sweep.objectives=[val/loss,best/val_mean_iou]").update({0: finished(0.5), 1: finished(0.25)})
    assert run.journal.history() == {"val/loss": {1: 0.5, 2: 0.5}, "best/val_mean_iou": {1: 0.5, 2: 0.5}}
    assert "best_run" not in tags(run)
