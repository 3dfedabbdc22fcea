"""The launchers: what each needs installed, how many jobs it runs at the same time, and what they share."""

import importlib.util
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pipeline.runtime.errors import UserError
from pipeline.runtime.hardware import threads_each

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
    import logging

    import ray

    from pipeline.runtime import signals

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
