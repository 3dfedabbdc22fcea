"""Trials of a search whose processes are dead: requeued once, with their numbers and what they have reported."""

import multiprocessing
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.trial import FrozenTrial, TrialState

from pipeline.config.addresses import storage_address
from pipeline.runtime.process import Process
from pipeline.sweep.command import trial_name
from pipeline.sweep.search import Search
from pipeline.sweep.search_space import search_space
from pipeline.sweep.study import open_storage
from pipeline.sweep.trial_queue import LAST_HEARTBEAT, OWNER, TrialQueue
from tests.sweep.searches import DEAD, SPACE, drawn, finished, states, work


def racing(place: str, start: Any, requeued: Any) -> None:
    """A process that requeues every stale trial, as soon as all processes are ready."""
    import os

    os.chdir(place)
    storage = open_storage(storage_address(None))
    study = optuna.load_study(study_name="fake", storage=storage)
    space = search_space(OverridesParser.create().parse_overrides(list(SPACE)))
    queue = TrialQueue("fake", study, space, "tpe", 5, 1)
    stale = [trial for trial in queue.trials() if queue.is_stale(trial, only_process=False)]
    start.wait()
    requeued.put([trial.number for trial in stale if queue.requeue(trial)])


def test_a_stale_trial_is_requeued_by_one_of_two_processes(search: Callable[..., Search], tmp_path: Path) -> None:
    queue = search(6).queue
    for _ in range(6):
        trial = queue.ask()
        queue.study._storage.set_trial_user_attr(trial._trial_id, OWNER, DEAD)
    context = multiprocessing.get_context("spawn")
    start, requeued = context.Barrier(2), context.Queue()
    other = context.Process(target=racing, args=(str(tmp_path), start, requeued))
    other.start()
    racing(str(tmp_path), start, requeued)
    found = [requeued.get(timeout=60) for _ in range(2)]
    other.join()
    assert sorted(found[0] + found[1]) == list(range(6))
    waiting = [trial for trial in queue.study.get_trials() if trial.state is TrialState.WAITING]
    assert [trial.number for trial in waiting] == list(range(6))
    assert waiting[0].params == queue.ask().params


def test_a_trial_of_a_living_process_is_not_stale(search: Callable[..., Search]) -> None:
    queue = search(1).queue
    trial = queue.ask()
    assert not queue.is_stale(trial, only_process=True)
    elsewhere = {**vars(Process.this()), "host": "elsewhere"}
    queue.study._storage.set_trial_user_attr(trial._trial_id, OWNER, elsewhere)
    (trial,) = queue.trials()
    assert not queue.is_stale(trial, only_process=False)  # heard of just now
    assert queue.is_stale(trial, only_process=True)


def test_a_trial_that_waited_has_a_heartbeat_as_soon_as_it_is_drawn(search: Callable[..., Search]) -> None:
    """Not that of the process that it had before."""
    queue = search(1).queue
    trial = queue.ask()
    for key, value in ((OWNER, DEAD), (LAST_HEARTBEAT, 0.0)):
        queue.study._storage.set_trial_user_attr(trial._trial_id, key, value)
    (stale,) = queue.trials()
    assert queue.is_stale(stale, only_process=False) and queue.requeue(stale)
    again = queue.ask()
    assert again.number == trial.number and time.time() - again.user_attrs[LAST_HEARTBEAT] < 60


def test_trials_of_other_processes_are_in_the_results(search: Callable[..., Search]) -> None:
    mine, other = search(3), search(3)
    trial = mine.queue.ask()  # by the other process, which trains it meanwhile
    overrides = mine._overrides(trial)
    mine.resume()
    mine.sweep.trained_results[trial_name(overrides)] = finished(overrides)  # type: ignore[attr-defined]
    other.queue.tell(trial, TrialState.COMPLETE, [0.5])
    mine.run()
    assert sorted(mine.sweep.results) == [0, 1, 2]


def test_a_partly_drawn_trial_is_drawn_again(search: Callable[..., Search]) -> None:
    expected = work(search(1)).queue.trials()[0].params
    shutil.rmtree("mlruns")
    queue = search(1).queue
    half = queue.study.ask(fixed_distributions=dict([next(iter(queue.space.distributions.items()))]))
    queue.study._storage.set_trial_user_attr(half._trial_id, OWNER, DEAD)
    again = work(search(1))
    assert drawn(again) == [expected] and states(again) == ["COMPLETE"]


def test_a_resumed_trial_keeps_its_reports_and_the_decision(
    search: Callable[..., Search],
) -> None:
    from pipeline.sweep.study import StudyTrial

    def study_trial(trial: FrozenTrial) -> StudyTrial:
        return StudyTrial(storage_address(None), "fake", trial._trial_id, "hyperband", 4)

    queue = search(9, pruner="hyperband").queue
    decisions = [False]
    while not any(decisions):  # each is worse than the one before
        trial = queue.ask()
        study, score = study_trial(trial), 0.9 - trial.number / 10
        decisions = [study.prune(epoch, score) for epoch in (1, 2, 3)]
        if not any(decisions):
            queue.tell(trial, TrialState.COMPLETE, [score])
    queue.study._storage.set_trial_user_attr(trial._trial_id, OWNER, DEAD)
    assert queue.requeue(queue.trials()[-1])
    again = queue.ask()
    assert (again.number, 1 in again.intermediate_values) == (trial.number, True)
    study = study_trial(again)
    assert [study.prune(epoch, score) for epoch in (1, 2, 3)] == decisions
