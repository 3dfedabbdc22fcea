"""How many jobs a launcher runs at the same time, and where."""

from omegaconf import DictConfig

from pipeline.hardware import threads_each


def runs_here(launcher: DictConfig) -> bool:
    """Whether jobs run in this very process."""
    return str(launcher._target_).endswith(".BasicLauncher")


def jobs_at_once(launcher: DictConfig) -> int:
    """Jobs that share this machine's processors at any time."""
    if "n_jobs" not in launcher:
        return 1
    asked = launcher.n_jobs or 1
    # As joblib counts: -1 is all processors, -2 all but one.
    return int(asked) if asked > 0 else max(1, threads_each(1) + 1 + int(asked))
