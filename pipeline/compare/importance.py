"""How much each parameter influences the validation score: Optuna's importances, from runs that are finished."""

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.compare.runs import LARGEST_NUMBER, ComparedRun
from pipeline.compare.table import REPEATS

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

FEWEST = 4  # runs; from fewer, importances mean nothing


def importances(runs: Sequence[ComparedRun], keys: Sequence[str]) -> dict[str, float]:
    """The share of each parameter in the variance of the validation mean IoU, the largest first; their sum is 1.

    By fANOVA (Hutter, Hoos and Leyton-Brown 2014), with a fixed seed. Empty if fewer than `FEWEST` runs have a score,
    or if no parameter or score varies.
    """
    scored = [run for run in runs if run.finished and run.val is not None]
    common = [key for key in keys if all(key in run.params for run in scored)]
    common = [key for key in common if len({run.params[key] for run in scored}) > 1]
    if len(scored) < FEWEST or not common or len({run.val for run in scored}) == 1:
        return {}
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize", storage=optuna.storages.InMemoryStorage())
    numbers = {key: _numbers([run.params[key] for run in scored]) for key in common}
    space = {key: _distribution([run.params[key] for run in scored], numbers[key], key) for key in common}
    for place, run in enumerate(scored):
        params: dict[str, float | str] = {}
        for key in common:
            values = numbers[key]
            params[key] = values[place] if values is not None and key not in REPEATS else run.params[key]
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=run.val))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )
    return {key: float(value) for key, value in found.items()}


def _numbers(texts: list[str]) -> list[float] | None:
    """The values of a parameter as numbers; None if any of them is not a number."""
    try:
        values = [float(text) for text in texts]
    except ValueError:
        return None
    return values if all(abs(value) < LARGEST_NUMBER for value in values) else None


def _distribution(texts: list[str], numbers: list[float] | None, key: str) -> "BaseDistribution":
    """A parameter's values for Optuna: a range of numbers, logarithmic if it spans more than a decade, or choices."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if numbers is None or key in REPEATS:  # neighbouring seeds or folds have nothing in common
        return CategoricalDistribution(sorted(set(texts)))
    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=low > 0 and high / low > 10)
