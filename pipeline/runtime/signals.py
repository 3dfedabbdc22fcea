"""Ctrl-C, SIGTERM, SIGHUP and the like: while training, the step in flight is finished and saved first."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

# Sent when a terminal is closed, and by schedulers and limits before they kill; by default they end a process at once.
# Where one is ignored (`nohup`), or something else handles it, it stays so.
OTHERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)


class Interrupted(KeyboardInterrupt):
    """The user, or the system, ends the program."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number  # of the signal

    @property
    def exit_status(self) -> int:
        """130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
        return 128 + self.number

    @property
    def message(self) -> str:
        """What happened: `interrupted`, `terminated`, or the signal's name."""
        words = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
        return words.get(self.number) or f"ended by {signal.Signals(self.number).name}"  # type: ignore[call-overload]


_pending: Interrupted | None = None
_deferred = False


def install() -> None:
    """Make the signals raise `Interrupted`: at once or, in a `deferred` block, at `raise_pending`."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _handle)
    for number in OTHERS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _handle)


def _handle(number: int, _frame: FrameType | None) -> None:
    global _pending
    first = _pending is None
    if number in OTHERS and not first:  # they come in pairs, and after SIGTERM: nobody is impatient
        return
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
