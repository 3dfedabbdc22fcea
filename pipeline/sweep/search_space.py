"""Hydra's override syntax as a search space of Optuna's."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.config.sweep_values import is_whole
from pipeline.runtime.errors import UserError

MOST_VALUES = 20  # of a range that `SearchSpace.choices` gives one by one


@dataclass(frozen=True)
class SearchSpace:
    """The overrides that all trials share, and the distributions that the others are drawn from."""

    fixed: dict[str, str]
    distributions: dict[str, BaseDistribution]

    def overrides(self, drawn: Mapping[str, Any]) -> list[str]:
        """The overrides of the trial with the drawn parameters."""
        return [f"{key}={value}" for key, value in {**self.fixed, **self.values(drawn)}.items()]

    def values(self, drawn: Mapping[str, Any]) -> dict[str, str]:
        """The drawn parameters as overrides spell them, in the order of the space."""
        return {key: str(drawn[key]) for key in self.distributions}

    def choices(self, keys: tuple[str, ...]) -> list[list[str]]:
        """The overrides of trials with all values of the drawn keys that begin so; the other drawn keys are left out.

        An interval, and a range of many values, stand for their two ends.
        """
        values = {key: _values(found) for key, found in self.distributions.items() if key.startswith(keys)}
        drawn = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
        return [[f"{key}={value}" for key, value in {**self.fixed, **of_trial}.items()] for of_trial in drawn]

    def described(self) -> dict[str, str]:
        """The space as text, to be compared with that of an earlier start."""
        return {key: repr(distribution) for key, distribution in self.distributions.items()}


def search_space(overrides: Sequence[Override]) -> SearchSpace:
    """`interval(a,b)` is continuous, or whole numbers where the key has those; `range` has its step; a,b,c is a choice.

    Raises:
        UserError: overrides that cannot be searched, one line each.
    """
    fixed: dict[str, str] = {}
    drawn: dict[str, BaseDistribution] = {}
    faults = []
    for override in overrides:
        key = override.get_key_element()
        fixed.pop(key, None)
        drawn.pop(key, None)
        if not override.is_sweep_override():
            fixed[key] = override.get_value_element_as_str()
            continue
        try:
            found = _distribution(override)
        except ValueError as error:
            faults.append(f"{override.input_line}: {error}")
            continue
        if isinstance(found, str):
            fixed[key] = found
        else:
            drawn[key] = found
    if not faults and not drawn:
        faults.append("sweep=optuna: there is nothing to search; give a key several values, a range or an interval")
    if faults:
        raise UserError(*faults)
    return SearchSpace(fixed, drawn)


def _values(distribution: BaseDistribution) -> list[str]:
    if isinstance(distribution, CategoricalDistribution):
        return [str(choice) for choice in distribution.choices]
    assert isinstance(distribution, IntDistribution | FloatDistribution)
    if isinstance(distribution, IntDistribution):
        values = range(distribution.low, distribution.high + 1, distribution.step)
        if len(values) <= MOST_VALUES:
            return [str(value) for value in values]
    return [str(distribution.low), str(distribution.high)]


def _distribution(override: Override) -> BaseDistribution | str:
    """The distribution of a swept override, or its only value.

    Raises:
        ValueError: it has no distribution.
    """
    swept: Any = override.value()
    log = "log" in getattr(swept, "tags", ())
    if isinstance(swept, IntervalSweep):
        assert swept.start is not None and swept.end is not None
        if is_whole(override.key_or_group):
            return IntDistribution(int(swept.start), int(swept.end), log=log)
        return FloatDistribution(swept.start, swept.end, log=log)
    choices = list(dict.fromkeys(override.sweep_string_iterator()))
    if not choices:
        raise ValueError("no value in it")
    if len(choices) == 1:
        return choices[0]
    if isinstance(swept, RangeSweep):
        values: Any = sorted(float(choice) for choice in choices)
        if all(value.is_integer() for value in values):
            return IntDistribution(int(values[0]), int(values[-1]), log, int(values[1] - values[0]))
        return FloatDistribution(values[0], values[-1], log, None if log else abs(float(swept.step)))
    if log:
        raise ValueError("tag(log, …) is for an interval or a range")
    return CategoricalDistribution(choices)
