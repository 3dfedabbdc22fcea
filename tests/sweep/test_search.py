"""The search's own logic, with trials that cost nothing: a launcher that answers at once, and no MLflow."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from pipeline.config.addresses import storage_address
from pipeline.config.overrides import checked_config
from pipeline.runtime.errors import UserError
from pipeline.sweep.search import Search
from pipeline.sweep.study import check_sampler, make_pruner, open_storage, open_study
from pipeline.sweep.trial_job import TrialResult
from tests.sweep.searches import die, drawn, finished, states, work


def test_n_trials_counts_what_is_there_already(search: Callable[..., Search]) -> None:
    first = work(search(4))
    assert states(first) == ["COMPLETE"] * 4
    again = work(search(4, after=first))
    assert again.sweep.trained == [] and len(again.sweep.results) == 4
    more = work(search(6, after=first))
    assert len(more.sweep.trained) == 2 and states(more) == ["COMPLETE"] * 6
    assert len(more.sweep.results) == 6  # earlier ones are in the table


def test_a_search_that_was_started_again_draws_what_an_undisturbed_one_draws(
    search: Callable[..., Search], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TPE looks at all trials after ten; a trial that was interrupted is gone on with, and shifts none that follow."""
    undisturbed = work(search(12))
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    count = 0

    def interrupted_at(number: int) -> Callable[[list[str]], Any]:
        def becomes(overrides: list[str]) -> Any:
            nonlocal count
            count += 1
            return KeyboardInterrupt() if count == number else finished(overrides)

        return becomes

    first = search(12, interrupted_at(3))
    die(first)
    second = search(12, interrupted_at(12), after=first)
    die(second)
    third = work(search(12, after=second))
    assert drawn(third) == drawn(undisturbed)
    assert states(third) == ["COMPLETE"] * 12
    trained = first.sweep.trained + second.sweep.trained + third.sweep.trained
    assert sorted(trained) == sorted(undisturbed.sweep.trained)


def test_another_seed_draws_something_else(search: Callable[..., Search]) -> None:
    one = search(1)
    other = search(1)
    other.queue._seed = 6
    assert work(one).queue.trials()[0].params != other.queue.ask().params


def test_failed_and_pruned_trials_are_told_as_such(search: Callable[..., Search]) -> None:
    kinds = iter(["finished", "failed", "pruned", "finished"])

    def becomes(overrides: list[str]) -> TrialResult:
        kind = next(kinds)
        return finished(overrides) if kind == "finished" else TrialResult("", kind)

    done = work(search(3, becomes))
    assert states(done) == ["COMPLETE", "FAIL", "PRUNED", "COMPLETE"]


def test_a_search_whose_trials_all_fail_ends(search: Callable[..., Search]) -> None:
    def fails(overrides: list[str]) -> TrialResult:
        return TrialResult("", "failed", reason="always")

    assert states(work(search(3, fails))) == ["FAIL"] * 3
    assert states(work(search(30, fails, max_failures=2))) == ["FAIL"] * 5


def test_a_failed_trial_is_retried_only_when_asked(search: Callable[..., Search]) -> None:
    first = work(search(2, lambda overrides: TrialResult("", "failed", reason="once")))
    first.sweep.trained_results.clear()
    before = drawn(first)
    kept = work(search(1, after=first))
    assert states(kept) == ["FAIL", "FAIL", "COMPLETE"]
    retried = work(search(3, after=kept, retry_failed=True))
    assert states(retried) == ["COMPLETE"] * 3
    assert drawn(retried)[1:] == before


def test_a_metric_that_was_not_logged_or_is_not_finite_fails_the_trial(search: Callable[..., Search]) -> None:
    done = work(search(1, objectives=["best/val_mean_uoi"], max_failures=1))
    assert states(done) == ["FAIL"]
    assert done.sweep.results[0].reason == "the run logged no finite best/val_mean_uoi"


def test_several_objectives_have_their_directions(search: Callable[..., Search]) -> None:
    done = work(search(2, objectives=["best/val_mean_iou", "parameters"], sampler="nsga2"))
    assert [direction.name for direction in done.queue.study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert done.queue.trials()[0].values[1] == 7.0


def test_a_batch_is_as_large_as_the_launcher_and_no_larger_than_what_is_missing(
    search: Callable[..., Search],
) -> None:
    assert work(search(5, jobs=2)).sweep.batches == [2, 2, 1]


def test_under_one_name_another_search_is_refused(search: Callable[..., Search]) -> None:
    work(search(1))
    with pytest.raises(UserError, match=r"^sweep\.name=fake: its earlier trials have the objectives"):
        search(1, objectives=["val/loss"])


def test_epochs_reach_the_pruner(search: Callable[..., Search]) -> None:
    from pipeline.sweep.study import StudyTrial

    started = search(3, pruner="median")
    # Five good trials, then one that is worse in its first epoch.
    for _ in range(5):
        trial = started.queue.ask()
        seen = StudyTrial(storage_address(None), "fake", trial._trial_id, "median", 4)
        assert not any(seen.prune(epoch, 0.5) for epoch in (1, 2))
        started.queue.tell(trial, TrialState.COMPLETE, [0.5])
    bad = started.queue.ask()
    assert StudyTrial(storage_address(None), "fake", bad._trial_id, "median", 4).prune(1, 0.1)
    good = started.queue.ask()
    assert not StudyTrial(storage_address(None), "fake", good._trial_id, "median", 4).prune(1, 0.9)


def test_a_storage_that_fails_prunes_nothing(search: Callable[..., Search], capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.sweep.study import StudyTrial

    trial = search(1).queue.ask()
    seen = StudyTrial(storage_address(None), "fake", trial._trial_id + 100, "median", 4)
    assert not seen.prune(1, 0.1)
    assert capsys.readouterr().err.startswith("warning: epoch 1 is not reported to the study:")


def test_a_storage_that_is_away_as_the_trial_begins_is_told_of_the_epochs_after_it_is_back(
    search: Callable[..., Search], capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.sweep.study import StudyTrial

    queue = search(1).queue
    trial, database = queue.ask(), Path(storage_address(None).removeprefix("sqlite:///"))
    kept = database.rename(database.with_name("kept"))
    database.mkdir()
    seen = StudyTrial(storage_address(None), "fake", trial._trial_id, "median", 4)
    assert not seen.prune(1, 0.1)
    told = capsys.readouterr().err
    assert (
        told.startswith("warning: epoch 1 is not reported to the study: sweep.storage=sqlite:///") and len(told) < 500
    )
    database.rmdir()
    kept.rename(database)
    assert not seen.prune(2, 0.2)
    assert queue.study.get_trials()[0].intermediate_values == {2: 0.2} and capsys.readouterr().err == ""


# ---- where, and with what


@pytest.mark.parametrize("address", ["redis://host", "mysqlite:///x", "http://host", "nothing"])
def test_other_storages_are_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"^sweep\.storage="):
        storage_address(address)


def test_a_journal_file_is_a_storage_too(tmp_path: Path) -> None:
    storage = open_storage(storage_address(f"journal:{tmp_path / 'new' / 'study.log'}"))
    sweep = checked_config([]).sweep
    assert open_study(storage, "a", sweep, {}, 3).study_name == "a"
    assert (tmp_path / "new" / "study.log").is_file()


def test_samplers_that_cannot_work_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = dataclasses.replace(checked_config([]).sweep, sampler="cmaes")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package cmaes"):
        check_sampler(sweep, "sqlite:///x")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    with pytest.raises(UserError, match="as a pickle"):
        check_sampler(sweep, "postgresql://host/db")
    check_sampler(sweep, "sqlite:///x")


def test_pruners_by_name() -> None:
    assert type(make_pruner("median", 8)) is optuna.pruners.MedianPruner
    assert type(make_pruner("hyperband", 8)) is optuna.pruners.HyperbandPruner
    assert type(make_pruner("none", 8)) is optuna.pruners.NopPruner
