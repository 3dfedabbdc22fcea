"""Registers the sweepers of this program with Hydra."""

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

# Hydra accepts only plugins from its own package; the module exists in memory alone.
MODULE = "hydra_plugins.segmentation_pipeline"


class _Sweeper(Sweeper):
    """Hydra's interface to both sweepers."""

    # Class attributes, since Hydra creates the instance and passes on nothing of this program's.
    lineage = Lineage()  # the run that every trial repeats
    first: Config  # the checked configuration of the first values

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """See Hydra. The task function is ignored: a sweep has its own (`TrialJob`)."""
        self.hydra_context, self.config = hydra_context, config

    def command(self, arguments: list[str]) -> Command:
        """The command line as the sweep needs it."""
        assert self.hydra_context is not None and self.config is not None
        return Command(self.hydra_context, self.config, self.lineage, arguments)


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
    """A search: each trial is drawn by the scores of those before."""

    def __init__(self, n_trials: int) -> None:
        self.n_trials = n_trials

    def sweep(self, arguments: list[str]) -> Any:
        """See `GridSweeper`."""
        from pipeline.sweep.search import run_search

        return run_search(self.command(arguments), self.first, self.n_trials)


def register(lineage: Lineage, first: Config) -> None:
    """Register the sweepers with Hydra.

    Args:
        lineage: the run that every trial repeats, if there is one.
        first: the checked configuration of the first values.
    """
    _Sweeper.lineage, _Sweeper.first = lineage, first
    plugins = Plugins.instance()  # before the module exists, since it scans Hydra's package for what is installed
    package, _, name = MODULE.partition(".")
    module = ModuleType(MODULE)
    setattr(sys.modules.setdefault(package, ModuleType(package)), name, module)
    for sweeper in (GridSweeper, OptunaSweeper):
        sweeper.__module__ = MODULE
        setattr(module, sweeper.__name__, sweeper)
        plugins.register(sweeper)
