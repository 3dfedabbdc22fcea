"""The grid: one trial for each combination of the values on the command line."""

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
    """The overrides of one trial, and those values among them that vary between trials."""

    overrides: list[str]
    values: dict[str, str]


def combinations(overrides: list[Override]) -> list[Combination]:
    """Every combination of the values; the last key varies fastest. Of a repeated key, the last override counts."""
    choices: dict[str, list[str]] = {}
    for override in overrides:
        swept = override.is_sweep_override()
        values = list(override.sweep_string_iterator()) if swept else [override.get_value_element_as_str()]
        choices.pop(override.get_key_element(), None)
        choices[override.get_key_element()] = values
    varying = [key for key, values in choices.items() if len(values) > 1]
    rows = [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]
    return [
        Combination([f"{key}={value}" for key, value in row.items()], {key: row[key] for key in varying})
        for row in rows
    ]


def run_grid(command: Command, config: Config) -> list[TrialResult]:
    """Run every combination; see `pipeline.sweep.plugins.GridSweeper`.

    Args:
        config: of the first values.
    """
    wanted = combinations(command.parsed())
    datasets = distinct_datasets(command, [combination.overrides for combination in wanted])
    with open_sweep(command, config, datasets) as sweep:
        sweep.total = len(wanted)
        work = []
        for number, combination in enumerate(wanted):
            spec = sweep.plan(number, combination.overrides, combination.values)
            if spec is not None:
                work.append((combination.overrides, spec))
        sweep.launch(work)
        missing = sweep.finish()
    if missing:
        raise RunFailed(missing)
    return list(sweep.results.values())
