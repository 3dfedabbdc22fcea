"""Standard output and error as a display: their reader may go away, and what they report continues without them.

A terminal is closed, the program at the other end of a pipe ends, the disk of a log is full: none of it may end hours
of training, nor may a name that an encoding does not have. Only these two streams are treated so: any other file that
cannot be written is an error.
"""

import codecs
import contextlib
import errno
import io
import os
import re
import select
import sys
from typing import Any

from pipeline.runtime.text import plain

STREAMS = {"stdout": 1, "stderr": 2}  # with their descriptors
# Whoever read it is gone, and wants no more: a pipe, a terminal, a socket. Any other error is a fault of a log file.
NO_READER = (errno.EPIPE, errno.EIO, errno.ECONNRESET)

_displays: dict[str, "_Display"] = {}
_expendable = False


def protect() -> None:
    """Make the process's standard streams ones that can be written whatever happens to their reader.

    Descriptors that were closed (`>&-`) become /dev/null; otherwise the next file that is opened would get one of them,
    and everything that libraries print. Characters that an encoding does not have are shown as they were typed, or
    escaped. Streams that belong to something else, as in a notebook, stay. COLUMNS and LINES that are no size are
    removed: rich takes 0 for one, and then shows nothing.
    """
    codecs.register_error("as_typed", _as_typed)
    for name in ("COLUMNS", "LINES"):
        if not re.fullmatch("0*[1-9][0-9]{0,4}", os.environ.get(name, "80")):
            del os.environ[name]
    closed = [descriptor for descriptor in range(3) if not _is_open(descriptor)]
    for _ in closed:
        os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free, which is the next of these
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    for name, descriptor in STREAMS.items():
        stream = getattr(sys, name)
        if stream is None and descriptor not in closed:  # Python found it closed; now it is a file of a library's
            descriptor = os.open(os.devnull, os.O_WRONLY)
        if stream is None or stream is getattr(sys, f"__{name}__"):
            setattr(sys, name, _protected(name, descriptor, stream))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="as_typed")


def make_expendable() -> None:
    """From here on the streams only show what is stored elsewhere: one that is lost is no failure of the command.

    It is reported once, on the other stream.
    """
    global _expendable
    _expendable = True


def lost() -> str:
    """The streams that could not be written and why, such as `stdout: Broken pipe`; empty if there are none."""
    return ", ".join(f"{name}: {display.error.strerror}" for name, display in _displays.items() if display.error)


def finish(status: int) -> int:
    """Write what is left at the end of a command; returns its exit status.

    1 instead of 0 where stdout, which was the result, could not be written. A reader who went away had enough.

    Args:
        status: of the command itself.
    """
    for name in STREAMS:
        getattr(sys, name).flush()
    error = _displays["stdout"].error if "stdout" in _displays else None
    if error is None or error.errno in NO_READER or _expendable:
        return status
    print(f"error: stdout: cannot be written: {error.strerror}", file=sys.stderr)
    return status or 1


class _Display(io.FileIO):
    """The descriptor of a stream, which accepts whatever it cannot write."""

    def __init__(self, name: str, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self.label = name
        self.error: OSError | None = None  # the first

    def write(self, data: Any) -> int:
        try:
            while (written := super().write(data)) is None:  # full, and another program made it one that does not wait
                select.select([], [self], [])
            return written
        except OSError as error:
            if self.error is None:
                self.error = error
                self._report(error)
            return memoryview(data).nbytes

    def _report(self, error: OSError) -> None:
        """Say so on the other stream, past its buffer, whose lock may be held."""
        line = f"warning: {self.label} cannot be written: {error.strerror}; the command continues without it\n"
        for other in _displays.values():
            if _expendable and other.error is None:
                with contextlib.suppress(OSError):
                    os.write(other.fileno(), line.encode())


def _as_typed(error: UnicodeError) -> tuple[str | bytes, int]:
    """Characters that a stream cannot encode: the bytes of an argument as it was typed, any other as its escape.

    Where the locale is no UTF-8, such as LANG=C, Python decodes arguments and names of files byte by byte.
    """
    assert isinstance(error, UnicodeEncodeError)
    part = error.object[error.start : error.end]
    if all("\udc80" <= character <= "\udcff" for character in part):
        typed = part.encode(errors="surrogateescape")
        try:
            if (text := typed.decode()) == plain(text):
                return typed, error.end
        except UnicodeDecodeError:
            pass
    return codecs.backslashreplace_errors(error)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def _protected(name: str, descriptor: int, stream: io.TextIOWrapper | None) -> io.TextIOWrapper:
    """A stream like this one on a descriptor; None: like one that was closed."""
    if stream is not None:
        with contextlib.suppress(OSError):
            stream.flush()
    display = _displays[name] = _Display(name, descriptor)
    return io.TextIOWrapper(
        io.BufferedWriter(display),
        encoding=stream.encoding if stream else "utf-8",
        errors="as_typed",
        line_buffering=stream.line_buffering if stream else True,
        write_through=stream.write_through if stream else False,
    )
