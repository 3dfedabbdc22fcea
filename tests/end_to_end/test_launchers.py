"""`hydra/launcher=…`: several trials at the same time, in processes that share one server and one study."""

import importlib.util
import signal
from collections.abc import Iterator
from pathlib import Path

import mlflow
import psutil
import pytest
from mlflow.entities import Run

from tests.end_to_end.commands import stored_runs, tiny
from tests.end_to_end.postgres import absent, postgres
from tests.end_to_end.server import Server
from tests.end_to_end.sweeps import PARENT, children_of, needs, read_until, started, sweep, table_of

pytestmark = pytest.mark.slow
OPTIONS = tiny(threads="auto", epochs="20")


def overlap(runs: list[Run]) -> bool:
    """Whether two runs were alive at the same time."""
    return any(
        one is not other and one.info.start_time < other.info.end_time and other.info.start_time < one.info.end_time
        for one in runs
        for other in runs
    )


def half() -> str:
    return str(max(1, len(psutil.Process().cpu_affinity()) // 2))


@needs("hydra_joblib_launcher")
def test_joblib_runs_two_trials_on_half_the_processors_each(workplace: Path) -> None:
    done = sweep(workplace, *OPTIONS, "seed=0,1", "hydra/launcher=joblib", "sweep.name=two")
    assert done.status == 0, done.stderr
    parent, trials = children_of(workplace, "two")
    assert [trial.info.status for trial in (parent, *trials)] == ["FINISHED"] * 3
    assert overlap(trials)
    assert {trial.data.params["threads"] for trial in trials} == {half()}


@needs("hydra_joblib_launcher")
def test_sigterm_ends_the_trials_with_the_sweep(workplace: Path) -> None:
    arguments = [*tiny(threads="auto", epochs="2000"), "seed=0,1,2", "hydra/launcher=joblib", "sweep.name=ended"]
    with started(workplace, *arguments) as process:
        read_until(process, "epoch +2/")
        processes = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)
    assert process.returncode == 143
    _, alive = psutil.wait_procs(processes, timeout=30)
    assert alive == []
    assert {run.info.status for run in stored_runs(workplace)[1]} == {"KILLED"}


@needs("hydra_joblib_launcher")
def test_a_killed_joblib_process_fails_trials_not_the_sweep(workplace: Path) -> None:
    arguments = [*tiny(threads="auto", epochs="200"), "seed=0,1,2,3", "hydra/launcher=joblib", "sweep.name=lost"]
    with started(workplace, *arguments) as process:
        output = read_until(process, "epoch +2/")
        (first, *_) = [
            child.parent()
            for child in psutil.Process(process.pid).children(recursive=True)
            if "pipeline.sweep.worker" in child.cmdline()
        ]
        assert first is not None
        first.kill()
        rest, _ = process.communicate(timeout=600)
    assert process.returncode == 1
    states = [row[1] for row in table_of(output + rest)]
    assert sorted(states) == ["failed", "finished", "finished", "interrupted"]  # that of the killed one, and the other
    assert "RUNNING" not in {run.info.status for run in stored_runs(workplace)[1]}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses of an `mlflow server` and of a study's storage, both on one PostgreSQL."""
    if reason := absent():
        pytest.skip(reason)
    if importlib.util.find_spec("psycopg") is None:
        pytest.skip("psycopg is not installed")
    with postgres() as address:
        server = Server(tmp_path_factory.mktemp("server"), f"{address}mlflow")
        server.start()
        try:
            yield server.address, f"{address}study"
        finally:
            server.kill()


@pytest.mark.parametrize(
    "launcher",
    [
        pytest.param("ray", marks=needs("hydra_ray_launcher")),
        pytest.param("submitit_local", marks=needs("hydra_submitit_launcher")),
    ],
)
def test_two_jobs_share_one_server_and_one_study(workplace: Path, shared: tuple[str, str], launcher: str) -> None:
    tracking, storage = shared
    done = sweep(
        workplace, *OPTIONS, "sweep=optuna", "hydra.sweeper.n_trials=2", f"hydra/launcher={launcher}",
        "optimizer.learning_rate=interval(1e-3,1e-2)", f"tracking.uri={tracking}", f"sweep.storage={storage}",
        f"sweep.name={launcher}",
    )  # fmt: skip
    assert done.status == 0, done.stderr
    client = mlflow.MlflowClient(tracking)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    runs = client.search_runs(experiments, f"tags.sweep = '{launcher}'")
    (parent,) = (run for run in runs if run.data.tags.get("is_sweep"))
    trials = [run for run in runs if run.data.tags.get(PARENT) == parent.info.run_id]
    assert [run.info.status for run in trials] == ["FINISHED"] * 2
    assert overlap(trials)
    assert {run.data.params["threads"] for run in trials} == {half()}
