"""The values that one override stands for: one value, the several of a sweep, or the ends of an interval."""

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Glob, IntervalSweep, Override, Sweep, ValueType

from pipeline.config.hydra_files import groups
from pipeline.config.keys import leaves
from pipeline.config.schema import Config


@dataclass(frozen=True)
class Setting:
    """One override and its values."""

    text: str  # as it was typed
    key: str  # or the group
    values: list[Any]  # at least one; of an interval, its ends
    is_sweep: bool

    def override(self, value: Any) -> str:
        """The override that sets one of the values."""
        return f"{self.text.partition('=')[0]}={value}" if self.is_sweep else self.text


def values_of(override: Override) -> list[Any]:
    """The values of an override, in order; of an interval, its ends; none where no choice matches a glob."""
    if not override.is_sweep_override():
        return [override.value()]
    if override.value_type is ValueType.INTERVAL_SWEEP:
        interval = override.value()
        assert isinstance(interval, IntervalSweep)
        whole = is_whole(override.key_or_group)
        return [int(end) if whole and end is not None else end for end in (interval.start, interval.end)]
    if override.value_type is ValueType.GLOB_CHOICE_SWEEP:
        glob = override.value()
        assert isinstance(glob, Glob)
        return glob.filter(groups().get(override.key_or_group, []))
    return [Override._convert_value(element) for element in override.sweep_iterator()]


def is_whole(key: str) -> bool:
    """Whether a key's values are whole numbers."""
    types = {name: item.type for name, item, _ in leaves(Config)}
    kinds = {types.get(key), *typing.get_args(types.get(key))}
    return int in kinds and float not in kinds


def interval_faults(overrides: Sequence[Override]) -> list[str]:
    """The faults of intervals and tags. Only a search can draw from an interval; a logarithm needs numbers above 0."""
    searches = any(override.key_or_group == "sweep" and override.value() == "optuna" for override in overrides)
    faults = []
    for override in overrides:
        swept = override.value()
        if not isinstance(swept, Sweep):
            continue
        if isinstance(swept, IntervalSweep) and (fault := _interval_fault(override, swept, searches)):
            faults.append(f"{override.input_line}: {fault}")
        if unknown := sorted(swept.tags - {"log"}):
            faults.append(f"{override.input_line}: unknown tag '{unknown[0]}'; tag(log, …) is the only one")
    return faults


def _interval_fault(override: Override, interval: IntervalSweep, searches: bool) -> str | None:
    assert interval.start is not None and interval.end is not None
    if not searches:
        return "only sweep=optuna draws from an interval; for a grid type a,b,c or range(…)"
    if interval.start >= interval.end:
        return "the end must be above the start"
    if "log" in interval.tags and interval.start <= 0:
        return "the logarithm needs a start above 0"
    if is_whole(override.key_or_group) and not (interval.start.is_integer() and interval.end.is_integer()):
        return "whole numbers expected"
    return None
