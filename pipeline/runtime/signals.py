"""Ctrl-C and SIGTERM: while training, the step in flight is finished and a checkpoint is written first."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The user, or the system, ends the program."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number  # of the signal

    @property
    def exit_status(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM."""
        return 128 + self.number

    @property
    def message(self) -> str:
        """What happened: `interrupted` or `terminated`."""
        return "terminated" if self.number == signal.SIGTERM else "interrupted"


_pending: Interrupted | None = None
_deferred = False


def install() -> None:
    """Make both signals raise `Interrupted`: at once or, in a `deferred` block, at `raise_pending`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _handle)


def _handle(number: int, _frame: FrameType | None) -> None:
    global _pending
    first = _pending is None
    interrupted = Interrupted(number)
    _pending = interrupted
    if not (_deferred and first):  # a second signal ends the program at once
        raise interrupted


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """In this block the first signal waits for `raise_pending`, which the end of the block calls as well."""
    global _deferred
    _deferred = True
    try:
        yield
    finally:
        _deferred = False
    raise_pending()


def pending() -> bool:
    """Whether a signal is waiting."""
    return _pending is not None


def raise_pending() -> None:
    """Raise the signal that is waiting, if there is one.

    Raises:
        Interrupted: there is one.
    """
    if _pending is not None:
        raise _pending
