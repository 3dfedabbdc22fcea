"""The values that one override stands for: one, several of a sweep, or the ends of an interval."""

import typing
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hydra.core.override_parser.types import Glob, IntervalSweep, Override, Sweep, ValueType

from pipeline.config.hydra_files import groups
from pipeline.config.keys import leaves
from pipeline.config.schema import Config


@dataclass(frozen=True)
class Values:
    """One override and its values: one, or several for a sweep; of an interval its ends."""

    text: str
    key: str
    values: list[Any]
    sweep: bool

    def single(self, value: Any) -> str:
        """The override with one value."""
        return f"{self.text.partition('=')[0]}={value}" if self.sweep else self.text


def values_of(override: Override) -> list[Any]:
    """What an override gives its key, one after the other."""
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
    """The faults of intervals and of tags: only a search can draw from them, and a logarithm needs numbers above 0."""
    searches = any(override.key_or_group == "sweep" and override.value() == "optuna" for override in overrides)
    faults = []
    for override in overrides:
        swept = override.value()
        if not isinstance(swept, Sweep):
            continue
        text = override.input_line
        if isinstance(swept, IntervalSweep):
            assert swept.start is not None and swept.end is not None
            if not searches:
                faults.append(f"{text}: only sweep=optuna draws from an interval; a,b,c or range(…) is a grid")
            elif swept.start >= swept.end:
                faults.append(f"{text}: the end must be above the start")
            elif "log" in swept.tags and swept.start <= 0:
                faults.append(f"{text}: the logarithm needs a start above 0")
            elif is_whole(override.key_or_group) and not (swept.start.is_integer() and swept.end.is_integer()):
                faults.append(f"{text}: whole numbers expected")
        if wrong := sorted(swept.tags - {"log"}):
            faults.append(f"{text}: tag '{wrong[0]}' means nothing; tag(log, …) is the only one")
    return faults
