"""A run that its time ended: it is scored, repeated to the last bit, and trained on."""

import re
from pathlib import Path

import pytest

from tests.end_to_end.commands import RUN, furnish, history, lines, python, stored_runs, tiny
from tests.end_to_end.forks import Ended
from tests.end_to_end.sweeps import children_of, sweep, table_of

OPTIONS = tiny(epochs="3", schedule="cosine")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, list[Ended]]:
    """A run that ends after its first epoch, its rerun, the run trained on, that refused with too little more time, a
    sweep of runs without a limit that has no time itself, and the same sweep with time, in this order."""
    cwd = furnish(tmp_path_factory.mktemp("max_minutes"), data)
    timed = [*OPTIONS, "seed=0,1", "sweep.name=timed"]
    ended = [python(RUN, *OPTIONS, "max_minutes=1e-6", cwd=cwd)]
    run_id = stored_runs(cwd)[1][0].info.run_id
    ended += [
        python(RUN, f"rerun={run_id}", "rerun_strict=true", cwd=cwd),
        python(RUN, f"resume={run_id}", "max_minutes=null", cwd=cwd),
        python(RUN, f"resume={run_id}", "max_minutes=2e-6", cwd=cwd),
        sweep(cwd, *timed, "sweep.max_minutes=1e-6"),
        sweep(cwd, *timed, "sweep.max_minutes=60"),
    ]
    return cwd, ended


def test_time_ends_a_run_after_an_epoch(place: tuple[Path, list[Ended]]) -> None:
    cwd, (ended, *_) = place
    client, (run, *_) = stored_runs(cwd)
    assert (ended.status, ended.stderr, run.info.status) == (0, "", "FINISHED")
    assert run.data.tags["ended_by"] == "max_minutes" and run.data.metrics["best/epoch"] == 1
    assert "test/mean_iou" in run.data.metrics and len(history(client, run)["val/mean_iou"]) == 1
    assert re.search(r"max_minutes=1e-06: \d+:\d\d are used, and another epoch would take \d+:\d\d\n", ended.stdout)
    assert f"note      the time was up: resume={run.info.run_id} max_minutes=<more, or null>" in ended.stdout


def test_its_rerun_trains_as_many_epochs(place: tuple[Path, list[Ended]]) -> None:
    cwd, (_, ended, *_) = place
    assert ended.status == 0 and "bit-identical" in ended.stdout, ended
    assert "the original ended after epoch 1, and so does this run" in ended.stdout
    for printed in (ended.stdout, place[1][0].stdout):
        assert "has collapsed" in printed  # in an epoch in which that is reported only if training ends with it
    _, (first, rerun, *_) = stored_runs(cwd)
    assert rerun.data.tags["ended_by"] == "max_minutes"
    assert rerun.data.tags["fingerprint"] == first.data.tags["fingerprint"]


def test_trained_on_it_has_the_weights_of_a_run_without_limit(place: tuple[Path, list[Ended]]) -> None:
    cwd, (_, _, ended, *_) = place
    client, (first, _, longer, *_) = stored_runs(cwd)
    unlimited, _ = children_of(cwd, "timed")[1]
    assert ended.status == 0 and longer.data.tags["resumed_from"] == first.info.run_id
    assert "ended_by" not in longer.data.tags
    for name in ("weights_sha256", "last_weights_sha256"):
        assert longer.data.tags[name] == unlimited.data.tags[name] != first.data.tags[name]
    assert [step for step, _ in history(client, longer)["val/mean_iou"]] == [2, 3]


def test_too_little_more_is_refused(place: tuple[Path, list[Ended]]) -> None:
    ended = place[1][3]
    assert ended.status == 2 and "and another epoch would take" in ended.stderr and "or null, expected" in ended.stderr


def test_a_sweep_whose_time_is_up_begins_no_trial(place: tuple[Path, list[Ended]]) -> None:
    """With more time the same command trains what was left."""
    *_, none, both = place[1]
    assert none.status == 1 and [row[1] for row in table_of(none.stdout)] == ["skipped", "skipped"]
    assert lines(none.stderr)[-1] == (
        "error: sweep timed: 2 skipped of 2 trials; sweep.max_minutes=1e-06 has ended it, and with more it continues"
    )
    assert both.status == 0 and [row[1] for row in table_of(both.stdout)] == ["finished", "finished"]
