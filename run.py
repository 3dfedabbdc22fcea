"""Train, evaluate and track one U-Net: compose the configuration, check it, hand it to the experiment."""

import os
import signal
import sys

from pipeline.command_line import checked, checked_config, reason, register_schema, report
from pipeline.errors import RunFailed, UserError
from pipeline.help import help_text


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
    register_schema()

    @hydra.main(version_base="1.3", config_path="conf", config_name="config")
    def job(composed: DictConfig) -> float:
        # Help and faults of the configuration come before the seconds that this import takes.
        from pipeline.hardware import import_tensorflow

        import_tensorflow()
        from pipeline.experiment import run_experiment

        hydra_config = HydraConfig.get()
        overrides = list(hydra_config.overrides.task)
        try:
            return run_experiment(checked(composed), overrides, OmegaConf.to_yaml(hydra_config))
        except Exception as error:
            raise PastHydra(error) from error

    signal.signal(signal.SIGTERM, _terminate)
    try:
        flags = get_args_parser().parse_args()
        # Shell completion asks in the middle of typing, when nothing is whole enough to be checked.
        if not flags.shell_completion:
            if flags.multirun and (flags.cfg or flags.info):
                raise UserError("--multirun runs a sweep and --cfg, --info only show: one of them expected")
            checked_config(flags.overrides)
        try:
            job()
        except PastHydra as carried:
            raise carried.error from None
    except UserError as error:
        report(error)
        return 2
    except HydraException as error:
        report(UserError(reason(error)))
        return 2
    except RunFailed as error:
        report(UserError(str(error)))
        return 1
    except Terminated:
        print("terminated; a run that had begun is KILLED in MLflow", file=sys.stderr)
        return 143
    except KeyboardInterrupt:
        print("interrupted; a run that had begun is KILLED in MLflow", file=sys.stderr)
        return 130
    return 0


class PastHydra(BaseException):
    """Carries an error out of a job: of an Exception Hydra first prints all overrides, passwords included."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised between two operations like Ctrl-C."""


def _terminate(_signal: int, _frame: object) -> None:
    raise Terminated


if __name__ == "__main__":
    sys.exit(main())
