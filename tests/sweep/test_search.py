"""The logic of the search, with a launcher that answers at once and without MLflow."""

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


def test_n_trials_counts_earlier_trials(search: Callable[..., Search]) -> None:
    first = work(search(4))
    assert states(first) == ["COMPLETE"] * 4
    again = work(search(4, after=first))
    assert again.sweep.trained == [] and len(again.sweep.results) == 4
    more = work(search(6, after=first))
    assert len(more.sweep.trained) == 2 and states(more) == ["COMPLETE"] * 6
    assert len(more.sweep.results) == 6  # with the earlier ones


def test_a_resumed_search_draws_what_an_uninterrupted_one_does(
    search: Callable[..., Search], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the eleventh trial on, TPE uses all earlier ones; an interrupted one is resumed and shifts no other."""
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


def test_another_seed_draws_other_parameters(search: Callable[..., Search]) -> None:
    one = search(1)
    other = search(1)
    other.queue._seed = 6
    assert work(one).queue.trials()[0].params != other.queue.ask().params


def test_failed_and_pruned_trials_have_their_states(search: Callable[..., Search]) -> None:
    kinds = iter(["finished", "failed", "pruned", "finished"])

    def becomes(overrides: list[str]) -> TrialResult:
        kind = next(kinds)
        return finished(overrides) if kind == "finished" else TrialResult("", kind)

    done = work(search(3, becomes))
    assert states(done) == ["COMPLETE", "FAIL", "PRUNED", "COMPLETE"]


def test_a_search_in_which_every_trial_fails_ends(search: Callable[..., Search]) -> None:
    def fails(overrides: list[str]) -> TrialResult:
        return TrialResult("", "failed", reason="always")

    assert states(work(search(3, fails))) == ["FAIL"] * 3
    assert states(work(search(30, fails, max_failures=2))) == ["FAIL"] * 5


def test_failed_trials_are_retried_only_on_request(search: Callable[..., Search]) -> None:
    first = work(search(2, lambda overrides: TrialResult("", "failed", reason="once")))
    first.sweep.trained_results.clear()
    before = drawn(first)
    unchanged = work(search(1, after=first))
    assert states(unchanged) == ["FAIL", "FAIL", "COMPLETE"]
    retried = work(search(3, after=unchanged, retry_failed=True))
    assert states(retried) == ["COMPLETE"] * 3
    assert drawn(retried)[1:] == before


def test_a_missing_or_non_finite_objective_fails_the_trial(search: Callable[..., Search]) -> None:
    done = work(search(1, objectives=["best/val_mean_uoi"], max_failures=1))
    assert states(done) == ["FAIL"]
    assert done.sweep.results[0].reason == "the run logged no finite best/val_mean_uoi"


def test_each_objective_has_its_direction(search: Callable[..., Search]) -> None:
    done = work(search(2, objectives=["best/val_mean_iou", "parameters"], sampler="nsga2"))
    assert [direction.name for direction in done.queue.study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert done.queue.trials()[0].values[1] == 7.0


def test_batches_are_limited_by_the_launcher_and_the_remainder(
    search: Callable[..., Search],
) -> None:
    assert work(search(5, jobs=2)).sweep.batches == [2, 2, 1]


def test_another_search_under_the_same_name_is_refused(search: Callable[..., Search]) -> None:
    work(search(1))
    with pytest.raises(UserError, match=r"^sweep\.name=fake: its earlier trials have the objectives"):
        search(1, objectives=["val/loss"])


def test_the_pruner_sees_the_reported_epochs(search: Callable[..., Search]) -> None:
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


def test_a_failing_storage_prunes_nothing(search: Callable[..., Search], capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.sweep.study import StudyTrial

    trial = search(1).queue.ask()
    seen = StudyTrial(storage_address(None), "fake", trial._trial_id + 100, "median", 4)
    assert not seen.prune(1, 0.1)
    assert capsys.readouterr().err.startswith("warning: epoch 1 is not reported to the study:")


def test_a_storage_that_comes_back_receives_later_epochs(
    search: Callable[..., Search], capsys: pytest.CaptureFixture[str]
) -> None:
    from pipeline.sweep.study import StudyTrial

    queue = search(1).queue
    trial, database = queue.ask(), Path(storage_address(None).removeprefix("sqlite:///"))
    moved = database.rename(database.with_name("moved"))
    database.mkdir()
    seen = StudyTrial(storage_address(None), "fake", trial._trial_id, "median", 4)
    assert not seen.prune(1, 0.1)
    warning = capsys.readouterr().err
    assert (
        warning.startswith("warning: epoch 1 is not reported to the study: sweep.storage=sqlite:///")
        and len(warning) < 500
    )
    database.rmdir()
    moved.rename(database)
    assert not seen.prune(2, 0.2)
    assert queue.study.get_trials()[0].intermediate_values == {2: 0.2} and capsys.readouterr().err == ""


# ---- where, and with what


@pytest.mark.parametrize("address", ["redis://host", "mysqlite:///x", "http://host", "nothing"])
def test_other_storages_are_refused(address: str) -> None:
    with pytest.raises(UserError, match=r"^sweep\.storage="):
        storage_address(address)


def test_a_journal_file_is_a_storage(tmp_path: Path) -> None:
    storage = open_storage(storage_address(f"journal:{tmp_path / 'new' / 'study.log'}"))
    sweep = checked_config([]).sweep
    assert open_study(storage, "a", sweep, {}, 3).study_name == "a"
    assert (tmp_path / "new" / "study.log").is_file()


def test_unusable_samplers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
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
