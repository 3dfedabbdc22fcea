"""Hydra's launchers, with what a sweep needs around them: one call, one list of results, one error."""

import contextlib
import copy
import logging
from collections.abc import Sequence
from typing import Any

from hydra.core.plugins import Plugins
from omegaconf import open_dict

from pipeline.runtime import signals
from pipeline.sweep.command import Command
from pipeline.sweep.given_up import Failures
from pipeline.sweep.launchers import all_at_once, runs_here, start
from pipeline.sweep.stopping import stopping
from pipeline.sweep.trial_job import TrialJob

CHATTY = ("hydra._internal.core_plugins.basic_launcher", "hydra_plugins")  # they tell all overrides of each trial


class LauncherFailed(Exception):
    """A launcher ended with a fault of its own, and told nothing of its jobs."""


def launched(command: Command, job: TrialJob, overrides: Sequence[list[str]], failures: Failures) -> list[Any]:
    """What a job returned, or the exception it raised, for each list of overrides; the launcher is the command's.

    Raises:
        LauncherFailed: what its jobs came to is in their journals.
        Interrupted: by a signal.
    """
    config = copy.deepcopy(command.config)
    launcher = config.hydra.launcher
    if all_at_once(launcher):
        with open_dict(launcher):
            del launcher.array_parallelism  # ours: this launcher has no such limit
    start(launcher)
    made = Plugins.instance().instantiate_launcher(hydra_context=command.hydra, task_function=job, config=config)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with contextlib.nullcontext() if runs_here(launcher) else stopping(failures):
            returned = made.launch(list(overrides), initial_job_idx=0)
    except Exception as error:
        signals.raise_pending()
        told = str(error).strip().partition("\n")[0]
        raise LauncherFailed(f"the launcher failed: {type(error).__name__}: {told}") from error
    return [job_return._return_value for job_return in returned]  # its property prints and raises
