"""What every command shares: `key=value` arguments, messages on stderr, and the exit status."""

import errno
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.runtime import output
from pipeline.runtime.errors import RerunDiffers, RunFailed, UserError
from pipeline.runtime.signals import Interrupted
from pipeline.runtime.text import nearest, plain

# Errors that end a command with a message and a status instead of a traceback. An OSError and an interrupt do, too.
EXIT_STATUSES: dict[type[Exception], int] = {UserError: 2, RunFailed: 1, RerunDiffers: 3}
# By name, since this file does not import TensorFlow.
OUT_OF_MEMORY = ("MemoryError", "ResourceExhaustedError")
LESS_MEMORY = "a smaller batch_size, image_size, long_side or model.width needs less"


@dataclass(frozen=True)
class Arguments:
    """The arguments of a command, parsed."""

    values: dict[str, str] = field(default_factory=dict)  # of the command's keys that were given
    names: list[str] = field(default_factory=list)  # arguments without `=`, for a command that takes names
    overrides: list[str] = field(default_factory=list)  # arguments for Hydra, for a command that passes them on

    def is_true(self, key: str) -> bool:
        """Whether a boolean key was set to true; where it is not given, it is false."""
        return self.values.get(key) == "true"


def parse(
    arguments: Sequence[str],
    required: Sequence[str] = (),
    optional: Sequence[str] = (),
    *,
    booleans: Sequence[str] = (),
    names: bool = False,
    overrides: bool = False,
) -> Arguments:
    """Parse `key=value` arguments.

    Args:
        booleans: those of the keys whose value is true or false, in either case.
        names: whether arguments without `=` may be given as well, unless they look like an option (`--fast`).
        overrides: whether arguments with any other key may be given as well. They are not looked at.

    Raises:
        UserError: with every fault: an unknown, repeated or missing key, or a value that is empty or not a boolean.
    """
    faults, found = [], Arguments()
    known = [*required, *optional]
    for argument in arguments:
        key, equals, value = argument.partition("=")
        name = key.lstrip("+")
        if equals and key in known:
            if fault := _value_fault(argument, key, value, key in booleans, key in found.values):
                faults.append(fault)
            found.values.setdefault(key, value.lower() if key in booleans else value)
        elif equals and name in known:
            faults.append(f"{argument}: {name} is not an override of the configuration; {name}=… expected")
        elif overrides:
            found.overrides.append(argument)
        elif not equals and names and not argument.startswith("-"):
            found.names.append(argument)
        elif not equals:
            faults.append(f"{argument}: key=value expected, with one of the keys {', '.join(known)}")
        else:
            faults.append(f"{argument}: unknown key '{key}'{nearest(key, known)}; the keys are {', '.join(known)}")
    faults += [f"{key}: missing; {key}=… expected" for key in required if key not in found.values]
    if faults:
        raise UserError(*faults)
    return found


def _value_fault(argument: str, key: str, value: str, boolean: bool, repeated: bool) -> str | None:
    """The fault of a known key's value, or None."""
    if repeated:
        return f"{argument}: {key} is given twice"
    if not value:
        return f"{argument}: {key}=… expected"
    if boolean and value.lower() not in ("true", "false"):
        return f"{argument}: true or false expected{nearest(value.lower(), ['true', 'false'])}"
    return None


def output_folder(name: str) -> Path:
    """The folder that `output=…` names; it is made if it is missing.

    Raises:
        UserError: it cannot be made.
    """
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output={name}: cannot create this folder: {error.strerror}") from error
    return folder


def run_tool(
    main: Callable[[list[str]], int], help_text: str | Callable[[], str], needs_arguments: bool = True
) -> None:
    """Run a command as a program, and end the process with its exit status.

    Args:
        main: the command: takes the arguments and returns the exit status.
        help_text: what `--help` prints, or a function that returns it.
        needs_arguments: whether the command has nothing to do without arguments; it then prints the help, status 2.
    """
    output.protect()
    if os.path.expanduser("~") == "~":  # no HOME, and a user without a name: MLflow could not be imported
        os.environ["HOME"] = tempfile.gettempdir()
    arguments = sys.argv[1:]
    if {"--help", "-h"} & set(arguments) or (needs_arguments and not arguments):
        print(help_text if isinstance(help_text, str) else help_text())
        sys.exit(output.finish(0 if arguments else 2))
    try:
        status = main(arguments)
    except (Exception, KeyboardInterrupt) as error:
        status = exit_status(error)
    sys.exit(output.finish(status))


def exit_status(error: Exception | KeyboardInterrupt, run_begun: bool = False) -> int:
    """Print an error's message on stderr and return the exit status of the command that it ended.

    1: a run failed, a disk is full, or no memory is left; 2: a mistake of the user's, a file that cannot be used
    included; 3: a rerun differs; 130: Ctrl-C; 143: SIGTERM; 129: SIGHUP; 128 + its number: another signal.

    Args:
        run_begun: whether the command had begun a run. A file that cannot be used is then a failure of the run (1).

    Raises:
        Exception: the error itself, if it is none of these: it is a fault of the program, and needs its traceback.
    """
    if isinstance(error, KeyboardInterrupt):
        interrupted = error if isinstance(error, Interrupted) else Interrupted()
        print(interrupted.message, file=sys.stderr)
        return interrupted.exit_status
    if isinstance(error, OSError):
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        if not full and not (error.filename and error.strerror):
            raise error
        cannot = "written" if full else "read or written"
        report(RunFailed(f"{error.filename or 'the disk'}: cannot be {cannot}: {error.strerror}"))
        return 1 if full or run_begun else 2
    if type(error).__name__ in OUT_OF_MEMORY:
        report(RunFailed(f"no memory is left ({type(error).__name__}): {LESS_MEMORY}"))
        return 1
    status = next((status for kind, status in EXIT_STATUSES.items() if isinstance(error, kind)), None)
    if status is None:
        raise error
    report(error)
    return status


def report(error: Exception) -> None:
    """Print an error on stderr, one line for each fault."""
    for fault in error.faults if isinstance(error, UserError) else [str(error)]:
        print(f"error: {plain(fault)}", file=sys.stderr)
