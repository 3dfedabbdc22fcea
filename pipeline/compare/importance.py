"""Which parameters moved the validation score: Optuna's importances over runs that are finished already."""

import warnings
from collections.abc import Sequence

from pipeline.compare.runs import MOST, ComparedRun
from pipeline.compare.table import SEED

FEWEST = 4  # runs; of fewer, no importance means anything


def importances(runs: Sequence[ComparedRun], keys: Sequence[str]) -> dict[str, float]:
    """The share of each parameter in the variance of the validation mean IoU, the largest first; the sum is 1.

    By fANOVA (Hutter, Hoos and Leyton-Brown 2014), with a fixed seed. Empty where there are fewer than `FEWEST` runs
    with a score, or where nothing varies.
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
            params[key] = values[place] if values is not None and key != SEED else run.params[key]
        study.add_trial(optuna.trial.create_trial(params=params, distributions=space, value=run.val))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = optuna.importance.get_param_importances(
            study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
        )
    return {key: float(value) for key, value in found.items()}


def _numbers(texts: list[str]) -> list[float] | None:
    """The values of a parameter as numbers, None where one of them is none."""
    try:
        values = [float(text) for text in texts]
    except ValueError:
        return None
    return values if all(abs(value) < MOST for value in values) else None


def _distribution(texts: list[str], numbers: list[float] | None, key: str):  # type: ignore[no-untyped-def]
    """What Optuna is told of a parameter: a range of numbers, by decades where it spans more than one, or choices."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    if numbers is None or key == SEED:  # neighbouring seeds have nothing in common
        return CategoricalDistribution(sorted(set(texts)))
    low, high = min(numbers), max(numbers)
    return FloatDistribution(low, high, log=low > 0 and high / low > 10)
