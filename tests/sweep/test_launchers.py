"""How many jobs each launcher runs at once, how they share processors, and the message where one is missing."""

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
def test_parallel_jobs_and_jobs_per_machine(name: str, changes: list[str], jobs: int, shared: int) -> None:
    config = launcher(name, *changes)
    assert (launchers.parallel_jobs(config), launchers.jobs_per_machine(config)) == (jobs, shared)
    assert launchers.starts_all_at_once(config) == (name == "submitit_local")
    assert not launchers.runs_in_process(config)


def test_minus_one_job_of_joblib_is_every_processor() -> None:
    assert launchers.parallel_jobs(launcher("joblib", "n_jobs=-1")) == threads_each(1)


def test_a_task_of_a_ray_cluster_has_a_thread_per_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers, "_cluster_processors", lambda launcher: 12.0)
    config = launcher("ray", "ray.init.address=auto", "ray.init.num_cpus=null", "ray.remote.num_cpus=4")
    assert (launchers.parallel_jobs(config), launchers.jobs_per_machine(config), launchers.threads_per_job(config)) == (
        3,
        1,
        4,
    )


@pytest.mark.parametrize("name", ["submitit_local", "submitit_slurm"])
def test_zero_parallel_jobs_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"hydra\.launcher\.array_parallelism=0: at least 1 expected"):
        launchers.parallel_jobs(launcher(name, "array_parallelism=0"))


@pytest.mark.parametrize("allocated", ["1", ""])
def test_a_slurm_job_uses_its_allocated_processors(monkeypatch: pytest.MonkeyPatch, allocated: str) -> None:
    whole = threads_each(1)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", allocated)
    assert threads_each(1) == (int(allocated) if allocated else whole)


@pytest.mark.parametrize(
    ("name", "extra"),
    [("joblib", "joblib"), ("ray", "ray"), ("submitit_local", "submitit"), ("submitit_slurm", "submitit")],
)
def test_a_missing_launcher_names_its_extra(monkeypatch: pytest.MonkeyPatch, name: str, extra: str) -> None:
    found: dict[str, Any] = {"hydra_plugins": object()}
    monkeypatch.setattr(importlib.util, "find_spec", found.get)
    with pytest.raises(UserError) as refused:
        launchers.check_installed(name)
    command = f"pip install {'' if extra == 'ray' else '-c constraints.txt '}-e '.[{extra}]'"
    assert refused.value.faults == (f"hydra/launcher={name}: needs the extra {extra}: {command}",)


def test_the_basic_launcher_needs_nothing() -> None:
    launchers.check_installed("basic")
