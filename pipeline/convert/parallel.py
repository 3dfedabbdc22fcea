"""Works on many files at once, in processes of its own, with a bounded amount in flight: memory stays flat."""

import concurrent.futures
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import TypeVar

from pipeline.runtime.errors import RunFailed
from pipeline.runtime.limits import processors
from pipeline.runtime.progress import Progress

T = TypeVar("T")
R = TypeVar("R")
FEW = 400  # items that this process works on alone: others would take longer to start
CHUNK = 32  # items that a process gets at once
AHEAD = 4  # chunks in flight for each process


class Workers:
    """The processes of one conversion, and how they report progress.

    They start with the first work that is enough for them, and serve all that follows: importing what they need takes
    each of them longer than it takes to convert a hundred small images.
    """

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self._count = processors()
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> "Workers":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)

    def map(self, work: Callable[[T], R], items: Sequence[T], what: str) -> Iterator[R]:
        """The results of `work` in the order of the items.

        Args:
            work: a function of a module, or a partial of one, with results that can be pickled.
            what: is done, for the display of progress.

        Raises:
            RunFailed: one of the processes was killed.
        """
        if self._count == 1 or len(items) <= FEW:
            for done, item in enumerate(items, 1):
                yield work(item)
                self.progress(what, done, len(items))
            return
        pool = self._started()
        starts = iter(range(0, len(items), CHUNK))
        flying: deque[Future[list[R]]] = deque()
        done = 0
        try:
            for start in itertools.chain(starts, itertools.repeat(None)):
                if start is not None:
                    flying.append(pool.submit(_work_on, work, items[start : start + CHUNK]))
                if flying and (start is None or len(flying) >= self._count * AHEAD):
                    for result in flying[0].result():
                        done += 1
                        yield result
                        self.progress(what, done, len(items))
                    flying.popleft()
                if start is None and not flying:
                    return
        except BrokenProcessPool as error:
            raise RunFailed(f"{what}: a process was killed, probably since no memory is left") from error
        finally:  # whatever ended it, nothing is written any more when it has ended
            for future in flying:
                future.cancel()
            concurrent.futures.wait(flying)

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            # A fresh interpreter for each: a fork of a process with threads can hang.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._count, context, initializer=_begin)
        return self._pool


def _work_on(work: Callable[[T], R], chunk: Sequence[T]) -> list[R]:
    return [work(item) for item in chunk]


def _begin() -> None:
    """Leave Ctrl-C to the process that started this one, and end with it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
