"""The sweepers of this program made known to Hydra."""

import sys
from types import ModuleType
from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from pipeline.config.schema import Config
from pipeline.experiment.lineage import Lineage
from pipeline.sweep.command import Command

# Hydra makes only plugins that are found in its own package; nothing needs to be installed there.
PLACE = "hydra_plugins.segmentation_pipeline"


class _Sweeper(Sweeper):
    """What both sweepers share: Hydra's side of a sweep."""

    # Hydra hands nothing of the kind on.
    origin = Lineage()  # the run that every trial repeats
    first: Config  # the checked configuration of the first values

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """See Hydra. The task is replaced by one that knows of the sweep."""
        self.hydra_context, self.config = hydra_context, config

    def command(self, arguments: list[str]) -> Command:
        """What was typed, as the sweep needs it."""
        assert self.hydra_context is not None and self.config is not None
        return Command(self.hydra_context, self.config, self.origin, arguments)


class GridSweeper(_Sweeper):
    """One trial for each combination of the values."""

    def sweep(self, arguments: list[str]) -> Any:
        """See Hydra.

        Raises:
            UserError: it cannot start; nothing was trained.
            RunFailed: it ended, and trials failed.
        """
        from pipeline.sweep.grid import run_grid

        return run_grid(self.command(arguments), self.first)


class OptunaSweeper(_Sweeper):
    """A search: the next trials are drawn from the scores of the last."""

    def __init__(self, n_trials: int) -> None:
        self.n_trials = n_trials

    def sweep(self, arguments: list[str]) -> Any:
        """See `GridSweeper`."""
        from pipeline.sweep.search import run_search

        return run_search(self.command(arguments), self.first, self.n_trials)


def register(origin: Lineage, first: Config) -> None:
    """Make the sweepers known to Hydra.

    Args:
        origin: the run that every trial repeats, where there is one.
        first: the checked configuration of the first values.
    """
    _Sweeper.origin, _Sweeper.first = origin, first
    plugins = Plugins.instance()  # first, since it looks for what is installed in Hydra's package
    package, _, name = PLACE.partition(".")
    place = ModuleType(PLACE)
    setattr(sys.modules.setdefault(package, ModuleType(package)), name, place)
    for sweeper in (GridSweeper, OptunaSweeper):
        sweeper.__module__ = PLACE
        setattr(place, sweeper.__name__, sweeper)
        plugins.register(sweeper)
