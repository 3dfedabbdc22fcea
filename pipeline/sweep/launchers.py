"""Hydra's launchers: what each needs installed, how many jobs it runs at the same time, and how it is called."""

import contextlib
import copy
import importlib.util
import logging
from collections.abc import Sequence
from typing import Any

from hydra.core.plugins import Plugins
from omegaconf import DictConfig, OmegaConf, open_dict

from pipeline.runtime import signals
from pipeline.runtime.errors import UserError
from pipeline.runtime.hardware import threads_each
from pipeline.sweep.command import Command
from pipeline.sweep.stopping import StopState, jobs_end_on_signal
from pipeline.sweep.trial_job import TrialJob

# The package of a launcher, and the extra that installs it, by the file in conf/hydra/launcher/.
LAUNCHERS = {
    "joblib": ("hydra_joblib_launcher", "joblib"),
    "ray": ("hydra_ray_launcher", "ray"),
    "submitit_local": ("hydra_submitit_launcher", "submitit"),
    "submitit_slurm": ("hydra_submitit_launcher", "submitit"),
}
VERBOSE = ("hydra._internal.core_plugins.basic_launcher", "hydra_plugins")  # loggers that print all overrides


class LauncherFailed(Exception):
    """A launcher ended with an error of its own and returned nothing about its jobs."""


def check_installed(name: str) -> None:
    """Refuse a launcher whose package is missing.

    Args:
        name: the value of `hydra/launcher`.

    Raises:
        UserError: it is not installed.
    """
    if name not in LAUNCHERS:
        return
    package, extra = LAUNCHERS[name]
    # In two steps: without any plugin installed, the parent package `hydra_plugins` does not exist.
    if (
        importlib.util.find_spec("hydra_plugins") is None
        or importlib.util.find_spec(f"hydra_plugins.{package}") is None
    ):
        constraints = "" if extra == "ray" else "-c constraints.txt "  # ray's plugin needs older versions of others
        raise UserError(f"hydra/launcher={name}: needs the extra {extra}: pip install {constraints}-e '.[{extra}]'")


def kind(launcher: DictConfig) -> str:
    """The last part of a launcher's class: BasicLauncher, JoblibLauncher, RayLauncher, LocalLauncher, SlurmLauncher."""
    return str(launcher._target_).rpartition(".")[2]


def runs_in_process(launcher: DictConfig) -> bool:
    """Whether jobs run in the process of the sweep itself."""
    return kind(launcher) == "BasicLauncher"


def parallel_jobs(launcher: DictConfig) -> int:
    """Jobs that run at the same time, on whatever machine; a search draws as many trials at once.

    Raises:
        UserError: the launcher is configured to run none.
    """
    name = kind(launcher)
    if name == "JoblibLauncher":
        jobs = int(launcher.n_jobs or 1)
        # As joblib counts: -1 is all processors, -2 all but one.
        return jobs if jobs > 0 else max(1, threads_each(1) + 1 + jobs)
    if name == "RayLauncher":
        each = launcher.ray.remote.get("num_cpus") or 1
        given = launcher.ray.init.get("num_cpus")
        jobs = int((given or _cluster_processors(launcher)) // each)
        return _at_least_one("hydra.launcher.ray.init.num_cpus", given, jobs, f"at least remote.num_cpus={each}")
    if name in ("LocalLauncher", "SlurmLauncher"):
        jobs = int(launcher.array_parallelism)
        return _at_least_one("hydra.launcher.array_parallelism", jobs, jobs, "at least 1")
    return 1


def jobs_per_machine(launcher: DictConfig) -> int:
    """Jobs that share the processors which one of them may use.

    1 for a job of SLURM, which has processors of its own, and for a task of a Ray cluster, whose machines may differ.
    """
    if kind(launcher) == "SlurmLauncher" or _on_cluster(launcher):
        return 1
    return parallel_jobs(launcher)


def threads_per_job(launcher: DictConfig) -> int | None:
    """Threads of each job where the launcher decides it: the processors of a task of a Ray cluster."""
    return int(launcher.ray.remote.get("num_cpus") or 1) if _on_cluster(launcher) else None


def starts_all_at_once(launcher: DictConfig) -> bool:
    """Whether the launcher starts every job at once, so that it must not be given more than may run together."""
    return kind(launcher) == "LocalLauncher"


def start(launcher: DictConfig) -> None:
    """Start Ray, which replaces this program's signal handlers; the launcher then finds it started."""
    if kind(launcher) != "RayLauncher":
        return
    import ray

    if not ray.is_initialized():
        settings: dict[str, Any] = OmegaConf.to_container(launcher.ray.init, resolve=True)  # type: ignore[assignment]
        level = str(settings.pop("logging_level", "warning")).upper()
        ray.init(**settings, logging_level=getattr(logging, level))
        signals.install()


def shut_down(launcher: DictConfig) -> None:
    """End Ray's processes."""
    if kind(launcher) == "RayLauncher":
        import ray

        ray.shutdown()


def launch(command: Command, job: TrialJob, overrides: Sequence[list[str]], state: StopState) -> list[Any]:
    """Run a job for each list of overrides with the command's launcher.

    Returns:
        For each, what the job returned, or the exception that it raised.

    Raises:
        LauncherFailed: how its jobs ended is in their journals.
        Interrupted: by a signal.
    """
    config = copy.deepcopy(command.config)
    launcher = config.hydra.launcher
    if starts_all_at_once(launcher):
        with open_dict(launcher):
            del launcher.array_parallelism  # a key of this program: the launcher knows no such limit
    start(launcher)
    plugin = Plugins.instance().instantiate_launcher(hydra_context=command.hydra, task_function=job, config=config)
    for name in VERBOSE:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with contextlib.nullcontext() if runs_in_process(launcher) else jobs_end_on_signal(state):
            returned = plugin.launch(list(overrides), initial_job_idx=0)
    except Exception as error:
        signals.raise_pending()
        first_line = str(error).strip().partition("\n")[0]
        raise LauncherFailed(f"the launcher failed: {type(error).__name__}: {first_line}") from error
    return [job_return._return_value for job_return in returned]  # the property return_value prints and raises


def _on_cluster(launcher: DictConfig) -> bool:
    return kind(launcher) == "RayLauncher" and launcher.ray.init.get("num_cpus") is None


def _cluster_processors(launcher: DictConfig) -> float:
    import ray

    start(launcher)
    return float(ray.cluster_resources().get("CPU", 0))


def _at_least_one(key: str, given: object, jobs: int, expected: str) -> int:
    if jobs < 1:
        raise UserError(f"{key}={given}: {expected} expected")
    return jobs
