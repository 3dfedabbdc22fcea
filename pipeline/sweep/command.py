"""What was typed to start a sweep, and the configurations that it comes to."""

import contextlib
import copy
from collections.abc import Sequence
from dataclasses import dataclass

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

from pipeline.experiment.lineage import Lineage

CHOOSE_DATA = ("dataset", "data_dir", "experiment")


@dataclass(frozen=True)
class Command:
    """What was typed, and what Hydra needs to compose it."""

    hydra: HydraContext
    config: DictConfig  # Hydra's own part is in it
    origin: Lineage
    arguments: list[str]  # overrides of the task

    def parsed(self) -> list[Override]:
        """The overrides."""
        return OverridesParser.create(config_loader=self.hydra.config_loader).parse_overrides(self.arguments)

    def compose(self, overrides: Sequence[str]) -> DictConfig:
        """A trial's configuration, not checked."""
        composed = self.hydra.config_loader.load_sweep_config(self.config, list(overrides))
        task = copy.deepcopy(composed)
        with open_dict(task):
            del task["hydra"]
        return task


def distinct_datasets(command: Command, trials: Sequence[Sequence[str]]) -> list[DictConfig]:
    """Configurations of trials with all the data among them, each once as far as the overrides tell."""
    chosen: dict[tuple[str, ...], Sequence[str]] = {}
    for trial in trials:
        chosen.setdefault(tuple(text for text in trial if text.lstrip("+").startswith(CHOOSE_DATA)), trial)
    found = []
    for trial in chosen.values():
        with contextlib.suppress(HydraException, OmegaConfBaseException):  # the trial itself will tell
            found.append(command.compose(trial))
    return found
