"""A sweep that is killed at many instants, and one with trials that fail in many ways. Slow: real processes."""

import json
import os
import pty
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from mlflow.entities import Run

from tests.end_to_end.commands import RUN, UNSEEN, environment, history, python, stored_runs, tiny
from tests.end_to_end.sweeps import children_of, needs, read_until, started, sweep, table_of, worker_of

pytestmark = pytest.mark.slow

TWELVE = [*tiny(), "seed=" + ",".join(map(str, range(12)))]


def weights_and_history(cwd: Path, trials: list[Run]) -> list[tuple[str | None, dict[str, list[tuple[int, float]]]]]:
    client, _ = stored_runs(cwd)
    return [(trial.data.tags.get("weights_sha256"), history(client, trial)) for trial in trials]


def epochs_in_journals(cwd: Path) -> Counter[tuple[str, int]]:
    """How often each (run, epoch) is recorded."""
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
    """At start-up, when its own run is created, in a trial, between two, and with its worker at a random time."""
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


SEARCH = [
    *tiny(epochs="4"), "sweep=optuna", "hydra.sweeper.n_trials=12", "sweep.pruner=hyperband",
    "optimizer.learning_rate=tag(log,interval(1e-5,1e-1))",
]  # fmt: skip


@pytest.mark.parametrize("arguments", [TWELVE, SEARCH], ids=["grid", "search that prunes"])
def test_a_sweep_killed_five_times_trains_each_trial_once(workplace: Path, arguments: list[str]) -> None:
    undisturbed, killed = workplace / "undisturbed", workplace / "killed"
    for folder in (undisturbed, killed):
        folder.mkdir()
        (folder / "VOC").symlink_to(workplace / "VOC")
    whole = sweep(undisturbed, *arguments, "sweep.name=same")  # hyperband's brackets depend on the name
    assert (whole.status, whole.stderr) == (0, "")
    kill_five_times(killed, *arguments, "sweep.name=same")
    ended = sweep(killed, *arguments, "sweep.name=same")
    assert ended.status == 0, ended.stderr
    rows = table_of(ended.stdout)
    assert [row[1:3] for row in rows] == [row[1:3] for row in table_of(whole.stdout)]
    assert len(rows) == 12 and {row[1] for row in rows} == (
        {"finished"} if arguments is TWELVE else {"finished", "pruned"}
    )
    (_, first), (_, second) = children_of(undisturbed, "same"), children_of(killed, "same")
    for folder in (undisturbed, killed):
        assert Counter(run.info.status for run in stored_runs(folder)[1]) == {"FINISHED": 12 + 1}
    for trials in (first, second):
        trials.sort(key=lambda trial: (int(trial.data.params["seed"]), trial.data.tags["trial"]))
    results = weights_and_history(killed, second)
    assert results == weights_and_history(undisturbed, first)
    epochs = epochs_in_journals(killed)
    assert len(epochs) == sum(len(metrics["val/mean_iou"]) for _, metrics in results) and set(epochs.values()) == {1}


def test_a_sweep_outlives_its_display_and_ends_with_its_terminal(workplace: Path) -> None:
    arguments = [*tiny(epochs="4"), "seed=1,2,3", "sweep.name=unseen"]
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_TERMINAL, sys.executable, RUN, "-m", *arguments], cwd=workplace,
        env=environment(COLUMNS="120"), stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    shown = b""
    while b"epoch 1/" not in shown:
        shown += os.read(master, 1 << 16)
    os.close(master)
    assert process.wait() == 128 + signal.SIGHUP
    parent, trials = children_of(workplace, "unseen")
    assert [run.info.status for run in (parent, *trials)] == ["KILLED", "KILLED"]
    assert python("-c", UNSEEN, RUN, "-m", *arguments, cwd=workplace).status == 0
    parent, trials = children_of(workplace, "unseen")
    assert [run.info.status for run in (parent, *trials)] == ["FINISHED"] * 4
    assert parent.data.tags["display_lost"] == trials[2].data.tags["display_lost"] == "stdout: Broken pipe"


# Runs a program in a session of its own, whose terminal is stdin: as a shell of that terminal that it replaces.
WITH_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.SIG_DFL)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


FAILING = [
    *(option for option in tiny(threads="1") if not option.startswith(("model.width", "dataset.root"))),
    "model.width=4,30000", "optimizer.learning_rate=1e-3,1e30", "dataset.root=VOC,BROKEN", "sweep.name=failing",
]  # fmt: skip


@pytest.mark.parametrize("launcher", ["basic", pytest.param("joblib", marks=needs("hydra_joblib_launcher"))])
def test_other_trials_continue_after_errors_nan_and_no_memory(workplace: Path, launcher: str) -> None:
    """With limited memory (`ulimit -v`), a truncated image, and a learning rate that gives NaN."""
    broken = workplace / "BROKEN"
    shutil.copytree(workplace / "VOC", broken)
    image = next((broken / "JPEGImages").iterdir())
    image.write_bytes(image.read_bytes()[:200])
    command = [sys.executable, RUN, "-m", *FAILING, f"hydra/launcher={launcher}"]
    done = subprocess.run(
        ["bash", "-c", 'ulimit -v 16000000 && exec "$@"', "bash", *command], cwd=workplace, env=environment(),
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    parent, trials = children_of(workplace, "failing")
    assert parent.info.status == "FINISHED"
    by_name = {str(trial.info.run_name): trial for trial in trials}
    assert len(by_name) == len(trials) == 8
    for name, trial in by_name.items():
        reason = (
            "cannot be decoded" if "BROKEN" in name
            else "OOM" if "width=30000" in name
            else "the loss became nan" if "learning_rate=1e+30" in name
            else ""
        )  # fmt: skip
        assert trial.info.status == ("FAILED" if reason else "FINISHED"), name
        assert reason in trial.data.tags.get("failure", ""), name
