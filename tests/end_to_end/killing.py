"""Commands that die at an exact point: each is a process of its own."""

import contextlib
import importlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

from tests.end_to_end.commands import RUN
from tests.end_to_end.forks import ForkServer, environment

T = TypeVar("T")


@dataclass(frozen=True)
class Death:
    """Where a process sends itself a signal. Several deaths of one command may name the same function."""

    at: str  # "module:Class.function", or an audit event of Python and a pattern: "os.rename checkpoints/step-"
    call: int = 1  # at which call, from 1
    after: bool = False  # after the function has returned, not before it is called
    number: int = signal.SIGKILL  # 0: no signal; instead, the disk of mlruns/runs becomes full
    only: str = ""  # only calls are counted whose arguments, as text, contain this


def in_parallel(servers: Sequence[ForkServer], tasks: Iterable[Callable[[ForkServer], T]]) -> Iterator[T]:
    """The results of the tasks, in their order; each task has a server to itself while it runs."""
    free: SimpleQueue[ForkServer] = SimpleQueue()
    for server in servers:
        free.put(server)

    def run(task: Callable[[ForkServer], T]) -> T:
        server = free.get()
        try:
            return task(server)
        finally:
            free.put(server)

    with ThreadPoolExecutor(len(servers)) as pool:
        yield from pool.map(run, tasks)


def arm(death: Death) -> None:
    """Make this process send itself the signal at that point."""
    calls = 0

    def is_due(arguments: str) -> bool:
        nonlocal calls
        calls += death.only in arguments
        return death.only in arguments and calls == death.call

    module, colon, name = death.at.partition(":")
    if not colon:
        event, _, pattern = death.at.partition(" ")

        def on_event(found: str, arguments: tuple[Any, ...]) -> None:
            if found == event and re.search(pattern, str(arguments[0])) and is_due(str(arguments)):
                _strike(death)

        sys.addaudithook(on_event)
        return
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        inner = getattr(owner, part)
        if isinstance(inner, ModuleType):  # such as `os`, which others use too: only this module gets the changed copy
            inner = SimpleNamespace(**vars(inner))
            setattr(owner, part, inner)
        owner = inner
    function = getattr(owner, last)

    def deadly(*arguments: Any, **named: Any) -> Any:
        now = is_due(str((arguments, named)))
        if now and not death.after:
            _strike(death)
        result = function(*arguments, **named)
        if now and death.after:
            _strike(death)
        return result

    setattr(owner, last, staticmethod(deadly) if isinstance(vars(owner).get(last), staticmethod) else deadly)


def _strike(death: Death) -> None:
    if death.number:
        os.kill(os.getpid(), death.number)
        return
    with open("mlruns/runs/filler", "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while True:
            filler.write(bytes(4096))


def kill_after(seconds: float, cwd: Path, *arguments: str, **more: str) -> int:
    """Start `run.py` as a program of its own and kill it after so many seconds, unless it has ended; its status."""
    with subprocess.Popen(
        [sys.executable, RUN, *arguments], cwd=cwd, env=environment(**more),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
    return process.returncode
