"""`run.py -m`: a sweep in MLflow, trials that fail or are refused, and sweeps that are killed and resumed."""

import json
import re
from pathlib import Path

import pytest

from tests.end_to_end.commands import Ended, furnish, history, lines, python, stored_runs, tiny
from tests.end_to_end.sweeps import children_of, read_until, started, sweep, table_of, worker_of

# ---- a grid with two trials whose process is killed, and one that is refused and left to a second start

GRID = [
    *(option for option in tiny() if not option.startswith(("model.depth", "image_size"))),
    "sweep.name=grid", "image_size=16,24", "model.depth=3,4",
]  # fmt: skip
LABELS = [f"image_size={size} depth={depth}" for size in (16, 24) for depth in (3, 4)]


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory, data: Path) -> tuple[Path, Ended]:
    """The first start, which ends after two failures."""
    cwd = furnish(tmp_path_factory.mktemp("grid"), data)
    output = ""
    with started(cwd, *GRID, "sweep.max_failures=2") as process:
        for number in (1, 3):
            output += read_until(process, f"trial {number}/4: {LABELS[number - 1]}")
            output += read_until(process, "run +[0-9a-f]{32}")
            worker_of(process).kill()
        rest, _ = process.communicate(timeout=300)
    return cwd, Ended(process.returncode, output + rest, "")


def test_a_sweep_goes_on_after_a_death_until_max_failures(grid: tuple[Path, Ended]) -> None:
    _, ended = grid
    rows = table_of(ended.stdout)
    assert [row[1] for row in rows] == ["failed", "finished", "failed", "skipped"]
    assert [row[5] for row in rows] == LABELS
    assert ended.status == 1
    printed = lines(ended.stdout)
    for number in (1, 3):
        killed = f"trial {number} failed: {LABELS[number - 1]}: its process was killed (SIGKILL)"
        assert f"{killed}, as when memory runs out" in printed
    assert printed[-1] == "error: sweep grid: 2 failed, 1 skipped of 4 trials"


def test_a_sweep_is_a_run_with_its_trials_as_children(grid: tuple[Path, Ended]) -> None:
    parent, trials = children_of(grid[0], "grid")
    assert (parent.info.run_name, parent.info.status) == ("grid", "FINISHED")
    assert parent.data.tags["failed_trials"] == "2"
    assert [trial.info.status for trial in trials] == ["FAILED", "FINISHED", "FAILED"]
    assert [trial.info.run_name for trial in trials] == LABELS[:3]
    assert {trial.data.tags["sweep"] for trial in trials} == {"grid"}
    assert len({trial.data.tags["trial"] for trial in trials}) == 3
    assert all("SIGKILL" in trials[place].data.tags["failure"] for place in (0, 2))
    assert len(stored_runs(grid[0])[1]) == 4


def test_code_and_data_are_recorded_for_later_starts(grid: tuple[Path, Ended]) -> None:
    record = json.loads((grid[0] / "mlruns/sweeps/grid/sweep.json").read_text())
    (name,) = record["data"]
    assert '"train": "train"' in name and [row[0] for row in record["data"][name]["val"]] == ["val_0", "val_1"]
    assert re.fullmatch("[0-9a-f]{64}", record["sources"]["model/unet.py"])


def test_the_comparison_is_stored_with_the_sweep(grid: tuple[Path, Ended]) -> None:
    parent, trials = children_of(grid[0], "grid")
    client, _ = stored_runs(grid[0])
    stored = {Path(file.path).name for file in client.list_artifacts(parent.info.run_id, "comparison")}
    assert {"comparison.html", "runs.csv", "curves.png", "images.png"} <= stored
    (best,) = (trial for trial in trials if "best" in trial.data.tags)
    description = parent.data.tags["mlflow.note.content"]
    assert f"runs/{best.info.run_id}" in description
    assert f"python run.py rerun={best.info.run_id}" in description
    assert f"run it again: python run.py rerun={best.info.run_id}" in grid[1].stdout


def test_later_starts_continue_and_retry_only_on_request(grid: tuple[Path, Ended]) -> None:
    cwd, ended = grid
    more = sweep(cwd, *GRID)
    rows = table_of(more.stdout)
    assert (more.status, [row[1] for row in rows]) == (1, ["failed", "finished", "failed", "failed"])
    assert [row[:3] for row in rows[:3]] == [row[:3] for row in table_of(ended.stdout)[:3]]
    assert [row[3] == "earlier" for row in rows] == [True] * 3 + [False] and "epoch" not in more.stdout
    refused = "image_size=24: model.depth=4 halves it 4 times, so it must be a multiple of 16: 16 or 32"
    assert f"trial 4 failed: {LABELS[3]}: {refused}" in lines(more.stdout)
    assert lines(more.stdout + more.stderr)[-1] == "error: sweep grid: 3 failed of 4 trials"
    _, trials = children_of(cwd, "grid")
    assert trials[3].info.status == "FAILED" and "multiple of 16" in trials[3].data.tags["failure"]
    assert len(trials) == 4 and trials[3].data.params["model.depth"] == "4"

    retried = sweep(cwd, *GRID, "sweep.retry_failed=true")
    rows = table_of(retried.stdout)
    assert [row[1] for row in rows] == ["finished"] * 3 + ["failed"]
    assert [row[3] == "earlier" for row in rows] == [False, True, False, False]
    parent, trials = children_of(cwd, "grid")
    assert (parent.info.status, parent.data.tags["failed_trials"], len(trials)) == ("FINISHED", "1", 7)


# ---- killed and resumed

SEEDS = [*tiny(epochs="4"), "seed=0,1,2"]


@pytest.mark.slow
def test_a_grid_killed_twice_ends_like_an_uninterrupted_one(workplace: Path) -> None:
    undisturbed = sweep(workplace, *SEEDS, "sweep.name=undisturbed")
    assert (undisturbed.status, undisturbed.stderr) == (0, "")
    for trial in ("trial 1/3", "trial 2/3"):
        with started(workplace, *SEEDS, "sweep.name=killed") as process:
            read_until(process, trial)
            read_until(process, "epoch 2/4")
            worker = worker_of(process)
            process.kill()
            process.wait()
    # At once, while the worker may still be writing its checkpoint.
    ended = sweep(workplace, *SEEDS, "sweep.name=killed")
    assert ended.status == 0, ended.stderr
    assert not worker.is_running()
    assert [row[2] for row in table_of(ended.stdout)] == [row[2] for row in table_of(undisturbed.stdout)]
    _, first = children_of(workplace, "undisturbed")
    parent, second = children_of(workplace, "killed")
    assert parent.info.status == "FINISHED"
    assert [trial.info.status for trial in second] == ["FINISHED"] * 3
    client, _ = stored_runs(workplace)
    assert [history(client, trial) for trial in second] == [history(client, trial) for trial in first]
    assert [t.data.tags["weights_sha256"] for t in second] == [t.data.tags["weights_sha256"] for t in first]


# ---- a search

SEARCH = [*tiny(epochs="1"), "sweep=optuna", "optimizer.learning_rate=tag(log,interval(1e-3,1e-1))", "loss.dice=0,1"]


@pytest.mark.slow
def test_a_search_continues_to_a_larger_n_trials(workplace: Path) -> None:
    four = sweep(workplace, *SEARCH, "hydra.sweeper.n_trials=4")
    assert (four.status, four.stderr) == (0, "")
    assert [row[1] for row in table_of(four.stdout)] == ["finished"] * 4
    six = sweep(workplace, *SEARCH, "hydra.sweeper.n_trials=6")
    assert six.status == 0, six.stderr
    rows = table_of(six.stdout)
    assert [row[3] == "earlier" for row in rows] == [True] * 4 + [False] * 2
    assert [row[2] for row in rows[:4]] == [row[2] for row in table_of(four.stdout)]
    (name,) = [path.name for path in (workplace / "mlruns/sweeps").iterdir()]
    parent, trials = children_of(workplace, name)
    assert len(trials) == 6 and parent.info.status == "FINISHED"
    assert {trial.info.status for trial in trials} == {"FINISHED"}


# ---- a trial that is pruned, in the process that trains it

PRUNED = """
import json, sys
from pipeline.runtime.hardware import import_tensorflow
import_tensorflow()
from pipeline.config.overrides import checked_config
from pipeline.experiment.run import run_experiment
from pipeline.experiment.trial import Trial
keys = []
trial = Trial("pruned", {}, None, lambda key, history: keys.append(key), lambda epoch, score: epoch == 2)
config = checked_config(sys.argv[1:])
result = run_experiment(config, [], "", trial=trial)
import gc
from pipeline.data.whole_images import _loader
from pipeline.train.compiled import drop_graphs
from tensorflow.python.framework.func_graph import FuncGraph
count = lambda: sum(isinstance(thing, FuncGraph) for thing in gc.get_objects())
gc.collect()
before = count()
_loader.cache_clear()  # which is small, and serves all runs
drop_graphs()
print(json.dumps([result.name, result.pruned, keys, before, count()]))
"""


def test_a_pruned_trial_has_no_test_scores_and_leaves_no_graph(workplace: Path) -> None:
    done = python("-c", PRUNED, *tiny(epochs="4"), cwd=workplace)
    assert done.status == 0, done.stderr
    run_id, pruned, (key,), graphs, graphs_left = json.loads(done.stdout.splitlines()[-1])
    _, (run,) = stored_runs(workplace)
    assert (run.info.run_id, run.data.tags["run_key"], pruned) == (run_id, key, True)
    assert (run.info.status, run.data.tags["pruned"]) == ("FINISHED", "true")
    assert run.info.run_name == "pruned"
    assert not [name for name in run.data.metrics if name.startswith(("test/", "best/"))]
    client, _ = stored_runs(workplace)
    assert [epoch for epoch, _ in history(client, run)["val/mean_iou"]] == [1, 2]
    assert "weights_sha256" not in run.data.tags  # so that no later start takes it for finished
    assert graphs > 0 and graphs_left == 0  # memory does not grow from trial to trial
