"""A sweep that is killed at many instants. Slow: a dozen trials twice over, in real processes."""

import json
import random
import time
from collections import Counter
from pathlib import Path

import pytest
from mlflow.entities import Run

from tests.end_to_end.commands import history, stored_runs, tiny
from tests.end_to_end.test_sweep import children_of, read_until, started, sweep, table_of, worker_of

pytestmark = pytest.mark.slow

TWELVE = [*tiny(), "seed=" + ",".join(map(str, range(12)))]


def weights_and_history(cwd: Path, trials: list[Run]) -> list[object]:
    client, _ = stored_runs(cwd)
    return [(trial.data.tags.get("weights_sha256"), history(client, trial)) for trial in trials]


def epochs_in_journals(cwd: Path) -> Counter[tuple[str, int]]:
    """How often each (run, epoch) is written down."""
    count: Counter[tuple[str, int]] = Counter()
    for journal in (cwd / "mlruns" / "runs").glob("*/journal.jsonl"):
        for line in journal.read_text().splitlines():
            record = json.loads(line)
            if record["kind"] == "metrics" and "val/mean_iou" in record["values"]:
                count[journal.parent.name, record["step"]] += 1
    return count


def wait_for(cwd: Path, pattern: str, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not list(cwd.glob(pattern)):
        assert time.monotonic() < until, pattern
        time.sleep(0.001)


def kill_five_times(cwd: Path, *arguments: str) -> None:
    """At start-up, at the sweep's own run's creation, in a trial, between two, and with its worker at a chance time."""
    with started(cwd, *arguments) as process:
        time.sleep(1.5)
        process.kill()
    with started(cwd, *arguments) as process:
        wait_for(cwd, "mlruns/runs/*")
        process.kill()
    with started(cwd, *arguments) as process:
        read_until(process, "epoch 1/")
        process.kill()
        process.wait()
    with started(cwd, *arguments) as process:
        read_until(process, "trial 4/")
        worker = worker_of(process)
        process.kill()  # first, since a sweep that sees its worker die fails the trial
        worker.kill()
    with started(cwd, *arguments) as process:
        read_until(process, "trial 6/")
        time.sleep(random.uniform(0, 4))
        worker = worker_of(process)
        process.kill()
        worker.kill()


def test_a_grid_that_is_killed_five_times_trains_every_trial_once(workplace: Path) -> None:
    calm = sweep(workplace, *TWELVE, "sweep.name=calm")
    assert (calm.status, calm.stderr) == (0, "")
    kill_five_times(workplace, *TWELVE, "sweep.name=killed")
    ended = sweep(workplace, *TWELVE, "sweep.name=killed")
    assert ended.status == 0, ended.stderr
    assert [row[1:3] for row in table_of(ended.stdout)] == [row[1:3] for row in table_of(calm.stdout)]
    (_, first), (parent, second) = children_of(workplace, "calm"), children_of(workplace, "killed")
    assert parent.info.status == "FINISHED"
    assert Counter(run.info.status for run in stored_runs(workplace)[1]) == {"FINISHED": 26}
    second.sort(key=lambda trial: int(trial.data.params["seed"]))
    assert weights_and_history(workplace, second) == weights_and_history(workplace, first)
    epochs = epochs_in_journals(workplace)
    assert len(epochs) == 24 * 2 and set(epochs.values()) == {1}
