"""Something that is done again and again, in a thread of its own, while a block runs."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def meanwhile(every: float, work: Callable[[], bool | None]) -> Iterator[None]:
    """Call `work` after each `every` seconds until the block ends, or until it returns True."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(every) and not work():
            pass

    thread = threading.Thread(target=repeat, name="meanwhile", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
