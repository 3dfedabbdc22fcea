"""Train, evaluate and track one U-Net, or many in a sweep: `python run.py`, with Hydra's overrides."""

import argparse
import gc
import logging
import os
import sys

import hydra
from hydra._internal.hydra import Hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from pipeline.config.environment import EXPERIMENT_ID, fill, variable
from pipeline.config.help_text import help_text
from pipeline.config.hydra_files import register, use_own_files
from pipeline.config.overrides import checked_config
from pipeline.config.own_files import find_own_files, flag_faults
from pipeline.config.schema import Config
from pipeline.config.validation import checked, reason
from pipeline.experiment.lineage import Lineage, length_fault, parse_lineage
from pipeline.runtime import output, signals
from pipeline.runtime.cli import exit_status, run_tool
from pipeline.runtime.errors import UserError
from pipeline.runtime.text import is_unicode, mask_credentials

N_TRIALS = "hydra.sweeper.n_trials"
SEARCHES = {"sweep=optuna", "hydra/sweeper=optuna"}  # overrides with which a sweep is a search
OF_SEARCHES = (N_TRIALS, "sweep.sampler", "sweep.pruner", "sweep.storage")


class JobError(BaseException):
    """Carries an error from a job past Hydra, which prints all overrides, passwords included, for an Exception."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def main(arguments: list[str]) -> int:
    """Run what the command line asks for and return the exit status.

    Raises:
        UserError: a mistake in the arguments, before the slow imports; every fault at once.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors instead of printing them
    signals.install()
    if strange := [mask_credentials(argument) for argument in arguments if not is_unicode(argument)]:
        expected = "a run stores its configuration as UTF-8; a name without other bytes expected, or a UTF-8 locale"
        raise UserError(*(f"{argument}: is not UTF-8: {expected}" for argument in strange))
    lineage, overrides_and_flags = parse_lineage(arguments)
    sys.argv[1:] = overrides_and_flags  # where Hydra reads them
    flags = get_args_parser().parse_args()
    try:
        if not flags.shell_completion:  # which asks in the middle of typing, when nothing is complete
            first = _check(flags, lineage)
            if not (flags.cfg or flags.info):
                _name_experiment(first)
            if flags.multirun:
                _prepare_sweep(flags.overrides, lineage, first)
        _run_jobs(lineage)
        return 0
    except HydraException as error:
        raise UserError(reason(error)) from error
    except JobError as carried:
        failure = carried.error
    return exit_status(failure, run_begun=True)


def _check(flags: argparse.Namespace, lineage: Lineage) -> Config:
    """The checked configuration, in a sweep that of the first values.

    Raises:
        UserError: with every fault of the flags and the overrides.
    """
    faults = [*_flag_faults(flags), *flag_faults(flags, stored=lineage.base is not None)]
    own, own_faults = find_own_files(flags)
    use_own_files(own)
    faults += own_faults
    overrides = [override for override in flags.overrides if not override.startswith(N_TRIALS)]
    if fault := length_fault(lineage, overrides):  # alone: that they do not fit each other would advise other steps
        raise UserError(*faults, fault)
    try:
        config = checked_config(overrides, lineage.base)
    except UserError as error:
        raise UserError(*faults, *error.faults) from error
    if faults:
        raise UserError(*faults)
    return config


def _flag_faults(flags: argparse.Namespace) -> list[str]:
    """The faults of flags and overrides that are valid only in combination with others, one line each."""
    faults, shows = [], flags.cfg or flags.info
    if flags.multirun and shows:
        faults.append("--multirun runs a sweep and --cfg, --info only show: one of them expected")
    alone = not flags.multirun and not shows
    for override in map(mask_credentials, flags.overrides):
        key, _, value = override.partition("=")
        if alone and (key == "sweep" or key.startswith("sweep.")):
            of_runs = "; max_minutes is that of a run" if key == "sweep.max_minutes" else ""
            faults.append(f"{override}: is for a sweep, which needs -m: python run.py -m {override} …{of_runs}")
        elif key in OF_SEARCHES and not SEARCHES & set(flags.overrides):
            faults.append(f"{override}: is for a search only; add sweep=optuna")
        elif key == N_TRIALS and (not value.isdecimal() or int(value) < 1):
            faults.append(f"{override}: at least 1 expected")
    return faults


def _name_experiment(first: Config) -> None:
    """Look up MLFLOW_EXPERIMENT_ID, if that is set, and take what else the environment says of the store."""
    if variable(EXPERIMENT_ID) is not None:
        from pipeline.tracking.store import name_experiment

        name_experiment(first.tracking)
    fill(first.tracking)


def _prepare_sweep(overrides: list[str], lineage: Lineage, first: Config) -> None:
    """Check the launcher and make the sweepers known to Hydra."""
    output.make_expendable()
    from pipeline.sweep.launchers import check_installed
    from pipeline.sweep.plugins import register as register_sweepers

    for override in overrides:
        if override.startswith("hydra/launcher="):
            check_installed(override.partition("=")[2])
    register_sweepers(lineage, first)


def _run_jobs(lineage: Lineage) -> None:
    """Let Hydra read `sys.argv`, compose, and run one job, or the trials of a sweep."""

    @hydra.main(version_base="1.3", config_path="conf", config_name=register(lineage.base))
    def job(composed: DictConfig) -> float:
        output.make_expendable()
        # Imported here, since help and faults of the configuration must not wait seconds for it.
        from pipeline.runtime.hardware import import_tensorflow

        hydra_config = HydraConfig.get()
        overrides = [*lineage.typed, *hydra_config.overrides.task]
        try:
            config = checked(composed)
            import_tensorflow(config.kernels)
            from pipeline.experiment.run import run_experiment

            gc.freeze()  # building graphs causes many garbage collections; none walks through what was imported
            fill(config.tracking)
            return run_experiment(config, overrides, OmegaConf.to_yaml(hydra_config), lineage).score
        except Exception as error:
            raise JobError(error) from error

    logging.getLogger("hydra._internal.core_plugins.basic_launcher").addFilter(_mask)
    # Hydra would compose everything once more, only to read hydra.mode, which is refused: -m alone decides.
    Hydra.get_mode = lambda *_, **__: None
    job()


def _mask(record: logging.LogRecord) -> bool:
    """Mask credentials in a log record: `-m hydra/sweeper=basic` logs the overrides of each run as they were typed."""
    record.msg = mask_credentials(str(record.msg))
    return True


if __name__ == "__main__":
    run_tool(main, help_text, needs_arguments=False)
