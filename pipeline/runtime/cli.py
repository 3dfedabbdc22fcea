"""What the side tools share: `key=value` arguments, exit status 2 for faults, a network from a stored run."""

import errno
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from pipeline.runtime.errors import RunFailed, UserError
from pipeline.runtime.text import nearest, plain


def parse(
    arguments: Sequence[str], required: Sequence[str], optional: Sequence[str], others: bool = False
) -> dict[str, str]:
    """`key=value` arguments as a dictionary.

    Args:
        others: whether keys beside the named ones may follow; they are returned too.

    Raises:
        UserError: a key is unknown, repeated or missing, or an argument is no `key=value`.
    """
    faults, found = [], {}
    known = [*required, *optional]
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not value:
            faults.append(f"{argument}: key=value expected, with one of the keys {', '.join(known)}")
        elif key not in known and not others:
            faults.append(f"{argument}: there is no key '{key}'{nearest(key, known)}; the keys are {', '.join(known)}")
        elif key in found:
            faults.append(f"{argument}: {key} is given twice")
        else:
            found[key] = value
    faults += [f"{key}: missing; {key}=… expected" for key in required if key not in found]
    if faults:
        raise UserError(*faults)
    return found


def output_folder(name: str) -> Path:
    """The folder `output=…` names, made where it is not there.

    Raises:
        UserError: it cannot be made.
    """
    folder = Path(name)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"output={name}: cannot be made a folder: {error.strerror}") from error
    return folder


def run_tool(main: Callable[[list[str]], int], help_text: str, needs_arguments: bool = True) -> None:
    """Run a side tool as a program: `--help`, faults on stderr with `run.py`'s exit status, 130 when interrupted."""
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # a file may be called anything
    arguments = sys.argv[1:]
    if (needs_arguments and not arguments) or {"--help", "-h"} & set(arguments):
        print(help_text)
        sys.exit(0 if arguments else 2)
    try:
        sys.exit(main(arguments))
    except UserError as error:
        report(error)
        sys.exit(2)
    except RunFailed as error:
        report(UserError(str(error)))
        sys.exit(1)
    except OSError as error:
        sys.exit(report_unusable(error))
    except KeyboardInterrupt:
        sys.exit(130)


def report(error: UserError) -> None:
    """Print a user's faults, one line each, on stderr."""
    for fault in error.faults:
        print(f"error: {plain(fault)}", file=sys.stderr)


def report_unusable(error: OSError) -> int:
    """Print which file or folder cannot be used; returns the exit status: 2, since its place was the user's choice.

    A disk that is full is nobody's mistake: 1. What names no file is no place of the user's, and raised again.
    """
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    if not full and not (error.filename and error.strerror):
        raise error
    cannot = "written" if full else "read or written"
    report(UserError(f"{error.filename or 'the disk'}: cannot be {cannot}: {error.strerror}"))
    return 1 if full else 2
