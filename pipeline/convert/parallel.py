"""Works on many files at once, in processes of its own, with a bounded amount in flight: memory stays flat."""

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from pipeline.runtime.errors import RunFailed
from pipeline.runtime.limits import processors
from pipeline.runtime.progress import Progress

T = TypeVar("T")
R = TypeVar("R")
FEW = 400  # items that this process works on alone: others would take longer to start
CHUNK = 32  # items that a process gets at once
AHEAD = 4  # chunks in flight for each process


def in_parallel(
    work: Callable[[T], R], items: Sequence[T], what: str, progress: Progress, workers: int | None = None
) -> Iterator[R]:
    """The results of `work` in the order of the items.

    Args:
        work: a function of a module, with results that can be pickled.
        workers: processes; None: as many as the machine allows.

    Raises:
        RunFailed: one of the processes was killed.
    """
    workers = processors() if workers is None else workers
    if workers == 1 or len(items) <= FEW:
        for number, item in enumerate(items, 1):
            yield work(item)
            progress(what, number, len(items))
        return
    done = 0
    # A fresh interpreter for each: a fork of a process with threads can hang.
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_begin) as pool:
        starts = iter(range(0, len(items), CHUNK))
        flying: deque[Future[list[R]]] = deque()
        try:
            for start in itertools.chain(starts, itertools.repeat(None)):
                if start is not None:
                    flying.append(pool.submit(_work_on, work, items[start : start + CHUNK]))
                if flying and (start is None or len(flying) >= workers * AHEAD):
                    for result in flying.popleft().result():
                        done += 1
                        yield result
                        progress(what, done, len(items))
                if start is None and not flying:
                    return
        except BrokenProcessPool as error:
            raise RunFailed(f"{what}: a process was killed, probably since no memory is left") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


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
