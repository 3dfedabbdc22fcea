"""Work that is repeated in a thread of its own while a block runs."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def repeating(every: float, work: Callable[[], bool | None]) -> Iterator[None]:
    """Call `work` every `every` seconds until the block ends, or until it returns True."""
    stopped = threading.Event()

    def repeat() -> None:
        while not stopped.wait(every) and not work():
            pass

    thread = threading.Thread(target=repeat, name="repeating", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
