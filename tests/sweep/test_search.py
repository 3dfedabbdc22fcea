"""The search's own logic, with trials that cost nothing: a launcher that answers at once, and no MLflow."""

import dataclasses
import multiprocessing
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.trial import FrozenTrial, TrialState

from pipeline.command_line import checked_config
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.sweep.identity import label, trial_of
from pipeline.sweep.job import Order, Outcome
from pipeline.sweep.queue import OWNER, TrialQueue
from pipeline.sweep.search import Search
from pipeline.sweep.search_space import search_space
from pipeline.sweep.study import check_sampler, make_pruner, open_storage, open_study, storage_address
from pipeline.tracking.process import Process

SPACE = ("optimizer.learning_rate=tag(log,interval(1e-4,1e-1))", "model.depth=range(2,5)", "seed=0")
DEAD = {**vars(Process.this()), "pid": 2**22 + 1}  # no machine gives out this one


class FakeSweep:
    """As `pipeline.sweep.sweep.Sweep`, but its trials are a function of their overrides."""

    name, key, run, total = "fake", "0" * 32, object(), 0

    def __init__(self, config: Config, becomes: Callable[[list[str]], Outcome | BaseException], jobs: int = 1) -> None:
        self.config, self.jobs, self._becomes = config, jobs, becomes
        self.outcomes: dict[int, Outcome] = {}
        self.trained: list[str] = []
        self.batches: list[int] = []
        self.results: dict[str, Outcome] = {}

    def plan(self, number: int, overrides: list[str], values: dict[str, str], study: Any = None) -> Order | None:
        trial = trial_of(overrides)
        if trial in self.results:
            self.outcomes[number] = self.results[trial]
            return None
        return Order(number, label(values), {"trial": trial}, study=study)

    def note_known(self, number: int, overrides: list[str], values: dict[str, str]) -> None:
        if (known := self.results.get(trial_of(overrides))) is not None:
            self.outcomes[number] = known

    def launch(self, work: list[tuple[list[str], Order]]) -> None:
        self.batches.append(len(work))
        for overrides, order in work:
            outcome = self._becomes(overrides)
            if isinstance(outcome, BaseException):
                raise outcome
            self.trained.append(trial_of(overrides))
            self.outcomes[order.number] = self.results[trial_of(overrides)] = outcome


def value(overrides: list[str], key: str) -> float:
    return float(dict(override.split("=") for override in overrides)[key])


def finished(overrides: list[str]) -> Outcome:
    metrics = {"best/val_mean_iou": 1 / (1 + value(overrides, "optimizer.learning_rate")), "model/parameters": 7.0}
    return Outcome("", "finished", metrics)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with Optuna's tables, which take longest to make."""
    database = tmp_path_factory.mktemp("empty") / "optuna.db"
    open_storage(f"sqlite:///{database}")
    return database


@pytest.fixture
def search(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Search]:
    """A function that starts a search, again and again on the same study, as a new process would."""
    monkeypatch.chdir(tmp_path)

    def start(
        n_trials: int, becomes: Callable[..., Any] = finished, after: Search | None = None, jobs: int = 1, **sweep: Any
    ) -> Search:
        config = checked_config([])
        config = dataclasses.replace(config, sweep=dataclasses.replace(config.sweep, **sweep))
        space = search_space(OverridesParser.create().parse_overrides(list(SPACE)))
        address = storage_address(None)
        database = Path(address.removeprefix("sqlite:///"))
        if not database.exists():
            database.parent.mkdir()
            shutil.copy(empty, database)
        study = open_study(open_storage(address), "fake", config.sweep, space.described(), config.epochs)
        fake = FakeSweep(config, becomes, jobs)
        if after is not None:
            fake.results = after.sweep.results  # type: ignore[attr-defined]
        queue = TrialQueue("fake", study, space, config.sweep.sampler, 5, jobs)
        return Search(fake, queue, address, n_trials)  # type: ignore[arg-type]

    return start


def drawn(search: Search) -> list[dict[str, Any]]:
    return [trial.params for trial in search.queue.trials()]


def states(search: Search) -> list[str]:
    return [trial.state.name for trial in search.queue.trials()]


def work(search: Search) -> Search:
    search.take_up()
    search.run()
    return search


def die(search: Search) -> None:
    """What SIGKILL leaves: RUNNING trials that belong to a process that is gone."""
    with pytest.raises(KeyboardInterrupt):
        work(search)
    for trial in search.queue.trials():
        if trial.state is TrialState.RUNNING:
            search.queue.study._storage.set_trial_user_attr(trial._trial_id, OWNER, DEAD)


def test_n_trials_counts_what_is_there_already(search: Callable[..., Search]) -> None:
    first = work(search(4))
    assert states(first) == ["COMPLETE"] * 4
    again = work(search(4, after=first))
    assert again.sweep.trained == [] and len(again.sweep.outcomes) == 4
    more = work(search(6, after=first))
    assert len(more.sweep.trained) == 2 and states(more) == ["COMPLETE"] * 6
    assert len(more.sweep.outcomes) == 6  # earlier ones are in the table


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

    def becomes(overrides: list[str]) -> Outcome:
        kind = next(kinds)
        return finished(overrides) if kind == "finished" else Outcome("", kind)

    done = work(search(3, becomes))
    assert states(done) == ["COMPLETE", "FAIL", "PRUNED", "COMPLETE"]


def test_a_search_whose_trials_all_fail_ends(search: Callable[..., Search]) -> None:
    def fails(overrides: list[str]) -> Outcome:
        return Outcome("", "failed", reason="always")

    assert states(work(search(3, fails))) == ["FAIL"] * 3
    assert states(work(search(30, fails, max_failures=2))) == ["FAIL"] * 5


def test_a_failed_trial_is_retried_only_when_asked(search: Callable[..., Search]) -> None:
    first = work(search(2, lambda overrides: Outcome("", "failed", reason="once")))
    first.sweep.results.clear()
    before = drawn(first)
    kept = work(search(1, after=first))
    assert states(kept) == ["FAIL", "FAIL", "COMPLETE"]
    retried = work(search(3, after=kept, retry_failed=True))
    assert states(retried) == ["COMPLETE"] * 3
    assert drawn(retried)[1:] == before


def test_a_metric_that_was_not_logged_or_is_not_finite_fails_the_trial(search: Callable[..., Search]) -> None:
    done = work(search(1, objectives=["best/val_mean_uoi"], max_failures=1))
    assert states(done) == ["FAIL"]
    assert done.sweep.outcomes[0].reason == "the run logged no finite best/val_mean_uoi"


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
    with pytest.raises(UserError, match=r"^sweep\.name=fake: its objectives was"):
        search(1, objectives=["val/loss"])


def test_epochs_reach_the_pruner(search: Callable[..., Search]) -> None:
    from pipeline.sweep.pruning import StudyTrial

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
    from pipeline.sweep.pruning import StudyTrial

    trial = search(1).queue.ask()
    seen = StudyTrial(storage_address(None), "fake", trial._trial_id + 100, "median", 4)
    assert not seen.prune(1, 0.1)
    assert capsys.readouterr().err.startswith("warning: epoch 1 is not told to the study:")


# ---- trials of dead processes


def racing(place: str, start: Any, won: Any) -> None:
    """A process that takes over what it finds, as soon as all are ready."""
    import os

    os.chdir(place)
    storage = open_storage(storage_address(None))
    study = optuna.load_study(study_name="fake", storage=storage)
    space = search_space(OverridesParser.create().parse_overrides(list(SPACE)))
    queue = TrialQueue("fake", study, space, "tpe", 5, 1)
    stale = [trial for trial in queue.trials() if queue.stale(trial, alone=False)]
    start.wait()
    won.put([trial.number for trial in stale if queue.take_over(trial)])


def test_each_stale_trial_is_taken_over_by_exactly_one_of_two_processes(
    search: Callable[..., Search], tmp_path: Path
) -> None:
    queue = search(6).queue
    for _ in range(6):
        trial = queue.ask()
        queue.study._storage.set_trial_user_attr(trial._trial_id, OWNER, DEAD)
    context = multiprocessing.get_context("spawn")
    start, won = context.Barrier(2), context.Queue()
    processes = [context.Process(target=racing, args=(str(tmp_path), start, won)) for _ in range(2)]
    for process in processes:
        process.start()
    taken = [won.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert sorted(taken[0] + taken[1]) == list(range(6))
    waiting = [trial for trial in queue.study.get_trials() if trial.state is TrialState.WAITING]
    assert [trial.number for trial in waiting] == list(range(6))
    assert waiting[0].params == queue.ask().params


def test_a_trial_of_a_living_process_is_not_stale(search: Callable[..., Search]) -> None:
    queue = search(1).queue
    trial = queue.ask()
    assert not queue.stale(trial, alone=True)
    elsewhere = {**vars(Process.this()), "host": "elsewhere"}
    queue.study._storage.set_trial_user_attr(trial._trial_id, OWNER, elsewhere)
    (trial,) = queue.trials()
    assert not queue.stale(trial, alone=False)  # heard of just now
    assert queue.stale(trial, alone=True)


def test_a_trial_whose_process_died_while_it_was_drawn_is_drawn_again(search: Callable[..., Search]) -> None:
    expected = work(search(1)).queue.trials()[0].params
    shutil.rmtree("mlruns")
    queue = search(1).queue
    half = queue.study.ask(fixed_distributions=dict([next(iter(queue.space.distributions.items()))]))
    queue.study._storage.set_trial_user_attr(half._trial_id, OWNER, DEAD)
    again = work(search(1))
    assert drawn(again) == [expected] and states(again) == ["COMPLETE"]


def test_a_trial_that_is_gone_on_with_keeps_what_it_reported_and_what_the_pruner_said(
    search: Callable[..., Search],
) -> None:
    from pipeline.sweep.pruning import StudyTrial

    def study_trial(trial: FrozenTrial) -> StudyTrial:
        return StudyTrial(storage_address(None), "fake", trial._trial_id, "hyperband", 4)

    queue = search(9, pruner="hyperband").queue
    said = [False]
    while not any(said):  # each is worse than the one before
        trial = queue.ask()
        study, score = study_trial(trial), 0.9 - trial.number / 10
        said = [study.prune(epoch, score) for epoch in (1, 2, 3)]
        if not any(said):
            queue.tell(trial, TrialState.COMPLETE, [score])
    queue.study._storage.set_trial_user_attr(trial._trial_id, OWNER, DEAD)
    assert queue.take_over(queue.trials()[-1])
    again = queue.ask()
    assert (again.number, 1 in again.intermediate_values) == (trial.number, True)
    study = study_trial(again)
    assert [study.prune(epoch, score) for epoch in (1, 2, 3)] == said


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
