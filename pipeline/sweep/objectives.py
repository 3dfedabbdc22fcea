"""What a search makes large or small, by the name of a metric."""

from collections.abc import Mapping
from typing import Literal

ALIASES = {"parameters": "model/parameters"}  # the number of weights


def score(metrics: Mapping[str, float], objective: str) -> float | None:
    """The value of an objective among a run's metrics, None where the run did not log it."""
    return metrics.get(ALIASES.get(objective, objective))


def direction(objective: str) -> Literal["minimize", "maximize"]:
    """minimize for losses, times and sizes, maximize for everything else."""
    name = ALIASES.get(objective, objective)
    small = name.startswith(("time/", "model/", "system/")) or name.rpartition("/")[2] == "loss"
    return "minimize" if small else "maximize"
