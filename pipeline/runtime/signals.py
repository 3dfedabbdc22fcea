"""Ctrl-C and SIGTERM: in training, the step in flight is finished and a checkpoint written first."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Interrupted(KeyboardInterrupt):
    """The user, or the system, ends the program."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number

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
    """Let both signals raise `Interrupted`, at once or, while they are deferred, where the program asks."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _received)


def _received(number: int, _frame: FrameType | None) -> None:
    global _pending
    first = _pending is None
    interrupted = Interrupted(number)
    _pending = interrupted
    if not (_deferred and first):  # a second signal ends at once
        raise interrupted


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """In this block the first signal only leaves a mark for `raise_pending`; at its end it is raised."""
    global _deferred
    _deferred = True
    try:
        yield
    finally:
        _deferred = False
    raise_pending()


def pending() -> bool:
    """Whether a signal waits."""
    return _pending is not None


def raise_pending() -> None:
    """Raise the signal that waits, if there is one."""
    if _pending is not None:
        raise _pending
