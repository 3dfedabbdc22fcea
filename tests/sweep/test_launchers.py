"""How many jobs each launcher runs at once, what they share, and what is said where it is not installed."""

import importlib.util
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from pipeline.config.hydra_files import CONF
from pipeline.runtime.errors import UserError
from pipeline.runtime.hardware import threads_each
from pipeline.sweep import launchers


def launcher(name: str, *changes: str) -> DictConfig:
    config = OmegaConf.load(CONF / "hydra" / "launcher" / f"{name}.yaml")
    merged = OmegaConf.merge(config, OmegaConf.from_dotlist(list(changes)))
    assert isinstance(merged, DictConfig)
    return merged


@pytest.mark.parametrize(
    ("name", "changes", "jobs", "shared"),
    [
        ("joblib", [], 2, 2),
        ("joblib", ["n_jobs=3"], 3, 3),
        ("ray", [], 2, 2),
        ("ray", ["ray.init.num_cpus=8", "ray.remote.num_cpus=2"], 4, 4),
        ("submitit_local", [], 2, 2),
        ("submitit_local", ["array_parallelism=5"], 5, 5),
        ("submitit_slurm", [], 8, 1),
    ],
)
def test_parallel_jobs_and_those_that_share_processors(name: str, changes: list[str], jobs: int, shared: int) -> None:
    config = launcher(name, *changes)
    assert (launchers.parallel_jobs(config), launchers.jobs_per_machine(config)) == (jobs, shared)
    assert launchers.starts_all_at_once(config) == (name == "submitit_local")
    assert not launchers.runs_in_process(config)


def test_as_joblib_counts_minus_one_is_every_processor() -> None:
    assert launchers.parallel_jobs(launcher("joblib", "n_jobs=-1")) == threads_each(1)


def test_a_task_of_a_cluster_has_as_many_threads_as_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers, "_cluster_processors", lambda launcher: 12.0)
    config = launcher("ray", "ray.init.address=auto", "ray.init.num_cpus=null", "ray.remote.num_cpus=4")
    assert (launchers.parallel_jobs(config), launchers.jobs_per_machine(config), launchers.threads_per_job(config)) == (
        3,
        1,
        4,
    )


@pytest.mark.parametrize("name", ["submitit_local", "submitit_slurm"])
def test_no_job_at_a_time_is_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"hydra\.launcher\.array_parallelism=0: at least 1 expected"):
        launchers.parallel_jobs(launcher(name, "array_parallelism=0"))


@pytest.mark.parametrize("promised", ["1", ""])
def test_a_job_of_slurm_uses_what_it_was_promised(monkeypatch: pytest.MonkeyPatch, promised: str) -> None:
    whole = threads_each(1)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", promised)
    assert threads_each(1) == (int(promised) if promised else whole)


@pytest.mark.parametrize(
    ("name", "extra"),
    [("joblib", "joblib"), ("ray", "ray"), ("submitit_local", "submitit"), ("submitit_slurm", "submitit")],
)
def test_a_launcher_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, name: str, extra: str) -> None:
    found: dict[str, Any] = {"hydra_plugins": object()}
    monkeypatch.setattr(importlib.util, "find_spec", found.get)
    with pytest.raises(UserError) as refused:
        launchers.check_installed(name)
    command = f"pip install {'' if extra == 'ray' else '-c constraints.txt '}-e '.[{extra}]'"
    assert refused.value.faults == (f"hydra/launcher={name}: needs the extra {extra}: {command}",)


def test_the_launcher_that_needs_nothing() -> None:
    launchers.check_installed("basic")
