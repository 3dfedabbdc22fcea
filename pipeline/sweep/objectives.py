"""What a search minimises or maximises, by the name of a metric."""

from collections.abc import Mapping, Sequence
from typing import Literal

ALIASES = {"parameters": "model/parameters"}  # the number of weights


def metric_of(objective: str) -> str:
    """The metric that an objective names."""
    return ALIASES.get(objective, objective)


def score(metrics: Mapping[str, float], objective: str) -> float | None:
    """The value of an objective among a run's metrics, None where the run did not log it."""
    return metrics.get(metric_of(objective))


def direction(objective: str) -> Literal["minimize", "maximize"]:
    """minimize for losses, times and sizes, maximize for everything else."""
    name = metric_of(objective)
    small = name.startswith(("time/", "model/", "system/")) or name.rpartition("/")[2] == "loss"
    return "minimize" if small else "maximize"


def pareto_front(trials: Sequence[Mapping[str, float] | None], objectives: Sequence[str]) -> list[bool]:
    """Whether each trial is on the Pareto front: no other is as good in every objective and better in one.

    Args:
        trials: the metrics of each; None where it has no result. One that lacks an objective is not on the front.
    """
    signs = [1 if direction(objective) == "maximize" else -1 for objective in objectives]
    points: list[list[float] | None] = []
    for metrics in trials:
        values = [None if metrics is None else score(metrics, objective) for objective in objectives]
        known = [sign * value for sign, value in zip(signs, values, strict=True) if value is not None]
        points.append(known if len(known) == len(objectives) else None)

    def dominates(other: list[float], one: list[float]) -> bool:
        return other != one and all(a >= b for a, b in zip(other, one, strict=True))

    complete = [point for point in points if point is not None]
    return [point is not None and not any(dominates(other, point) for other in complete) for point in points]
