"""The launchers: what each needs installed, how many jobs it runs at the same time, and what they share."""

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
from pipeline.sweep.stopping import Failures, stopping
from pipeline.sweep.trial_job import TrialJob

# The package of a launcher, and the extra that installs it, by the file in conf/hydra/launcher/.
LAUNCHERS = {
    "joblib": ("hydra_joblib_launcher", "joblib"),
    "ray": ("hydra_ray_launcher", "ray"),
    "submitit_local": ("hydra_submitit_launcher", "submitit"),
    "submitit_slurm": ("hydra_submitit_launcher", "submitit"),
}


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
    # Not `hydra_plugins.<package>`, which is where it lies: without any plugin that parent does not exist.
    if (
        importlib.util.find_spec("hydra_plugins") is None
        or importlib.util.find_spec(f"hydra_plugins.{package}") is None
    ):
        exactly = "" if extra == "ray" else "-c constraints.txt "  # its plugin needs older versions of others
        raise UserError(f"hydra/launcher={name}: needs the extra {extra}: pip install {exactly}-e '.[{extra}]'")


def kind(launcher: DictConfig) -> str:
    """The last part of a launcher's class: BasicLauncher, JoblibLauncher, RayLauncher, LocalLauncher, SlurmLauncher."""
    return str(launcher._target_).rpartition(".")[2]


def runs_here(launcher: DictConfig) -> bool:
    """Whether jobs run in this very process."""
    return kind(launcher) == "BasicLauncher"


def jobs_at_once(launcher: DictConfig) -> int:
    """Jobs that run at the same time, on whatever machine; as many trials are drawn at once.

    Raises:
        UserError: it would be none.
    """
    which = kind(launcher)
    if which == "JoblibLauncher":
        asked = int(launcher.n_jobs or 1)
        # As joblib counts: -1 is all processors, -2 all but one.
        return asked if asked > 0 else max(1, threads_each(1) + 1 + asked)
    if which == "RayLauncher":
        each = launcher.ray.remote.get("num_cpus") or 1
        jobs = int((launcher.ray.init.get("num_cpus") or _cluster_processors(launcher)) // each)
        given = launcher.ray.init.get("num_cpus")
        return _at_least_one("hydra.launcher.ray.init.num_cpus", given, jobs, f"at least remote.num_cpus={each}")
    if which in ("LocalLauncher", "SlurmLauncher"):
        jobs = int(launcher.array_parallelism)
        return _at_least_one("hydra.launcher.array_parallelism", jobs, jobs, "at least 1")
    return 1


def sharing(launcher: DictConfig) -> int:
    """Jobs among which the processors that one of them may use are divided.

    A job of SLURM has its own; of a Ray cluster, whose machines may differ, each has what its task was given.
    """
    if kind(launcher) == "SlurmLauncher" or _on_cluster(launcher):
        return 1
    return jobs_at_once(launcher)


def threads_given(launcher: DictConfig) -> int | None:
    """Threads of each job where the launcher says so: the processors of a task of a Ray cluster."""
    return int(launcher.ray.remote.get("num_cpus") or 1) if _on_cluster(launcher) else None


def all_at_once(launcher: DictConfig) -> bool:
    """Whether the launcher starts whatever it is given, so that it must not be given more than may run."""
    return kind(launcher) == "LocalLauncher"


def start(launcher: DictConfig) -> None:
    """Start Ray, which sets signals that are this program's; the launcher then finds it started."""
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


CHATTY = ("hydra._internal.core_plugins.basic_launcher", "hydra_plugins")  # they tell all overrides of each trial


class LauncherFailed(Exception):
    """A launcher ended with a fault of its own, and told nothing of its jobs."""


def launched(command: Command, job: TrialJob, overrides: Sequence[list[str]], failures: Failures) -> list[Any]:
    """What a job returned, or the exception it raised, for each list of overrides; the launcher is the command's.

    Raises:
        LauncherFailed: what its jobs came to is in their journals.
        Interrupted: by a signal.
    """
    config = copy.deepcopy(command.config)
    launcher = config.hydra.launcher
    if all_at_once(launcher):
        with open_dict(launcher):
            del launcher.array_parallelism  # ours: this launcher has no such limit
    start(launcher)
    made = Plugins.instance().instantiate_launcher(hydra_context=command.hydra, task_function=job, config=config)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with contextlib.nullcontext() if runs_here(launcher) else stopping(failures):
            returned = made.launch(list(overrides), initial_job_idx=0)
    except Exception as error:
        signals.raise_pending()
        told = str(error).strip().partition("\n")[0]
        raise LauncherFailed(f"the launcher failed: {type(error).__name__}: {told}") from error
    return [job_return._return_value for job_return in returned]  # its property prints and raises
