"""Train, evaluate and track one U-Net: compose the configuration, check it, hand it to the experiment."""

import argparse
import logging
import os
import signal
import sys

from pipeline.config.help_text import help_text
from pipeline.config.hydra_files import register
from pipeline.config.overrides import checked_config
from pipeline.config.validation import checked, reason
from pipeline.experiment.lineage import parse_lineage
from pipeline.runtime import signals
from pipeline.runtime.cli import report, report_unusable
from pipeline.runtime.errors import RerunDiffers, RunFailed, UserError
from pipeline.runtime.text import mask_credentials

SEARCH, N_TRIALS = {"sweep=optuna", "hydra/sweeper=optuna"}, "hydra.sweeper.n_trials"


def main() -> int:
    """Run what the command line asks for and return the exit status."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a class may be called anything
    if {"--help", "-h"} & set(sys.argv[1:]):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `--help | head` ends quietly
        print(help_text())
        return 0
    import hydra
    from hydra._internal.utils import get_args_parser
    from hydra.core.hydra_config import HydraConfig
    from hydra.errors import HydraException
    from omegaconf import DictConfig, OmegaConf

    # Hydra then raises its errors instead of printing them and choosing the exit status itself.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    signals.install()
    begun = False
    try:
        origin, sys.argv[1:] = parse_lineage(sys.argv[1:])
        flags = get_args_parser().parse_args()
        # Shell completion asks in the middle of typing, when nothing is whole enough to be checked.
        if not flags.shell_completion:
            faults = _flag_faults(flags)
            try:
                first = checked_config([text for text in flags.overrides if not text.startswith(N_TRIALS)], origin.base)
            except UserError as error:
                faults += error.faults
            if faults:
                raise UserError(*faults)
            if flags.multirun:
                from pipeline.sweep.launchers import check_installed
                from pipeline.sweep.plugins import register as register_sweepers

                for override in flags.overrides:
                    if override.startswith("hydra/launcher="):
                        check_installed(override.partition("=")[2])
                register_sweepers(origin, first)

        @hydra.main(version_base="1.3", config_path="conf", config_name=register(origin.base))
        def job(composed: DictConfig) -> float:
            # Help and faults of the configuration come before the seconds that this import takes.
            from pipeline.runtime.hardware import import_tensorflow

            import_tensorflow()
            from pipeline.experiment.run import run_experiment

            hydra_config = HydraConfig.get()
            overrides = [*origin.typed, *hydra_config.overrides.task]
            try:
                return run_experiment(checked(composed), overrides, OmegaConf.to_yaml(hydra_config), origin).score
            except Exception as error:
                raise PastHydra(error) from error

        logging.getLogger("hydra._internal.core_plugins.basic_launcher").addFilter(_mask)
        try:
            job()
        except PastHydra as carried:
            begun = True
            raise carried.error from None
    except UserError as error:
        report(error)
        return 2
    except HydraException as error:
        report(UserError(reason(error)))
        return 2
    except OSError as error:
        status = report_unusable(error)
        return 1 if begun else status
    except RunFailed as error:
        report(UserError(str(error)))
        return 1
    except RerunDiffers as error:
        report(UserError(str(error)))
        return 3
    except signals.Interrupted as error:
        print(error.word, file=sys.stderr)
        return error.exit_status
    return 0


def _flag_faults(flags: argparse.Namespace) -> list[str]:
    """What only has a meaning beside something else, one line a fault."""
    faults, shows = [], flags.cfg or flags.info
    if flags.multirun and shows:
        faults.append("--multirun runs a sweep and --cfg, --info only show: one of them expected")
    for override in flags.overrides:
        key, _, value = override.partition("=")
        if key == "sweep" and not flags.multirun and not shows:
            faults.append(f"{override}: is for sweeps, which -m begins: python run.py -m {override} …")
        if key == N_TRIALS and not SEARCH & set(flags.overrides):
            faults.append(f"{override}: only a search has it; sweep=optuna expected beside it")
        elif key == N_TRIALS and (not value.isdecimal() or int(value) < 1):
            faults.append(f"{override}: at least 1 expected")
    return faults


class PastHydra(BaseException):
    """Carries an error out of a job: of an Exception Hydra first prints all overrides, passwords included."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def _mask(record: logging.LogRecord) -> bool:
    """Of each run of `-m hydra/sweeper=basic` Hydra tells the overrides as they were typed."""
    record.msg = mask_credentials(str(record.msg))
    return True


if __name__ == "__main__":
    sys.exit(main())
