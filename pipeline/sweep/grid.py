"""The grid: one trial for each combination of the values that are typed."""

import itertools
from dataclasses import dataclass

from hydra.core.override_parser.types import Override

from pipeline.config.schema import Config
from pipeline.runtime.errors import RunFailed
from pipeline.sweep.command import Command, distinct_datasets
from pipeline.sweep.start import open_sweep
from pipeline.sweep.trial_job import TrialResult


@dataclass(frozen=True)
class Combination:
    """The overrides of one trial, and of the parameters that vary the values in it."""

    overrides: list[str]
    values: dict[str, str]


def combinations(overrides: list[Override]) -> list[Combination]:
    """Every combination of the values, the last one typed changing fastest; of a key that is typed twice the last."""
    given: dict[str, list[str]] = {}
    for override in overrides:
        swept = override.is_sweep_override()
        values = list(override.sweep_string_iterator()) if swept else [override.get_value_element_as_str()]
        given.pop(override.get_key_element(), None)
        given[override.get_key_element()] = values
    varying = [key for key, values in given.items() if len(values) > 1]
    return [
        Combination([f"{key}={value}" for key, value in row.items()], {key: row[key] for key in varying})
        for row in (dict(zip(given, values, strict=True)) for values in itertools.product(*given.values()))
    ]


def run_grid(command: Command, config: Config) -> list[TrialResult]:
    """Run what was typed; see `pipeline.sweep.plugins.GridSweeper`."""
    wanted = combinations(command.parsed())
    with open_sweep(command, config, distinct_datasets(command, [each.overrides for each in wanted])) as sweep:
        sweep.total = len(wanted)
        work = []
        for number, combination in enumerate(wanted):
            spec = sweep.plan(number, combination.overrides, combination.values)
            if spec is not None:
                work.append((combination.overrides, spec))
        sweep.launch(work)
        missing = sweep.end()
    if missing:
        raise RunFailed(missing)
    return list(sweep.outcomes.values())
