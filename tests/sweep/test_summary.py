"""The table at the end of a sweep, and which metrics are minimised."""

import pytest

from pipeline.sweep.objectives import direction, pareto_front, score
from pipeline.sweep.summary import failures, table
from pipeline.sweep.trial_job import TrialResult

RESULTS = [
    TrialResult(
        "depth=2", "finished", {"best/val_mean_iou": 0.51234567, "model/parameters": 1732.0}, run="a" * 32, seconds=61
    ),
    TrialResult("depth=3", "failed", reason="the loss became nan\x1b[2J", run="b" * 32, seconds=5),
    TrialResult("depth=4", "failed", reason="as before", run="c" * 32, earlier=True),
]


def test_each_trial_has_a_line_with_its_scores() -> None:
    heading, first, second, third = table(RESULTS, ["best/val_mean_iou", "parameters"]).splitlines()
    assert first.startswith("*  ") and second.startswith("   ")
    assert heading.split() == ["trial", "status", "best/val_mean_iou", "parameters", "time", "run", "parameters"]
    assert first.split() == ["*", "1", "finished", "0.512346", "1732", "1:01", "a" * 32, "depth=2"]
    assert second.split() == ["2", "failed", "-", "-", "0:05", "b" * 32, "depth=3"]
    assert third.split()[4] == "earlier"


def test_run_names_of_a_server_are_escaped() -> None:
    (_, line) = table([TrialResult("depth=2", "finished", run="id\x1b[2J")], ["val/loss"]).splitlines()
    assert r"id\x1b[2J" in line and line.isprintable()


def test_the_reason_of_a_failure_is_one_plain_line() -> None:
    lines = failures(RESULTS)
    assert lines[0] == "trial 2 failed: depth=3: the loss became nan\\x1b[2J"
    assert lines[1] == "trial 3 failed: depth=4: as before (earlier; sweep.retry_failed=true trains it again)"


@pytest.mark.parametrize(
    ("objective", "expected"),
    [
        ("best/val_mean_iou", "maximize"),
        ("test/iou/cat", "maximize"),
        ("val/loss", "minimize"),
        ("time/total_seconds", "minimize"),
        ("parameters", "minimize"),
    ],
)
def test_losses_times_and_sizes_are_minimised(objective: str, expected: str) -> None:
    assert direction(objective) == expected


def test_parameters_is_an_alias_of_the_number_of_weights() -> None:
    assert score({"model/parameters": 3.0}, "parameters") == 3.0
    assert score({}, "best/val_mean_iou") is None


def test_pareto_front() -> None:
    trials = [
        {"best/val_mean_iou": 0.5, "model/parameters": 100.0},
        {"best/val_mean_iou": 0.6, "model/parameters": 200.0},
        {"best/val_mean_iou": 0.5, "model/parameters": 150.0},  # as good as the first, and larger
        {"best/val_mean_iou": 0.9},
        None,
        {"best/val_mean_iou": 0.6, "model/parameters": 200.0},  # the same as the second
    ]
    assert pareto_front(trials, ["best/val_mean_iou", "parameters"]) == [True, True, False, False, False, True]
    assert pareto_front(trials, ["best/val_mean_iou"]) == [False, False, False, True, False, False]
    assert pareto_front([], ["best/val_mean_iou"]) == []
