"""Commands that die at an exact point: each is a process of its own, forked from one that has imported TensorFlow.

`python -m tests.end_to_end.killing` is that one: a line of JSON in, a command run to its end, a line of JSON out.
"""

import contextlib
import importlib
import json
import os
import re
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from queue import SimpleQueue
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

from tests.end_to_end.commands import RUN, Ended, environment

T = TypeVar("T")


@dataclass(frozen=True)
class Death:
    """Where a process sends itself a signal; the same function may be named in several deaths of one command."""

    at: str  # "module:Class.function", or an audit event of Python as "os.rename checkpoints/step-", with a pattern
    call: int = 1  # at which of its calls, from 1
    after: bool = False  # once the function has returned; else before it does anything
    number: int = signal.SIGKILL  # 0: no signal, but the disk that mlruns/runs is on becomes full
    only: str = ""  # counted are calls whose arguments, as text, contain this


class Forks:
    """A process that runs commands, one at a time, each in a fork of its own."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.killing"], env=environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, cwd: Path, *arguments: str, deaths: tuple[Death, ...] = (), **more: str) -> Ended:
        """`run.py` with these arguments, to its end or death; `more` is set in its environment.

        The status of a process that a signal ended is the signal's number, negative.
        """
        deadly = [asdict(death) for death in deaths]
        asked = {"cwd": str(cwd), "argv": [RUN, *arguments], "deaths": deadly, "environment": more}
        assert self._server.stdin is not None and self._server.stdout is not None
        print(json.dumps(asked), file=self._server.stdin, flush=True)
        return Ended(*json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()


@contextlib.contextmanager
def forks() -> Iterator[Forks]:
    """`Forks` that ends with the block."""
    server = Forks()
    try:
        yield server
    finally:
        server.close()


def in_parallel(servers: Sequence[Forks], tasks: Iterable[Callable[[Forks], T]]) -> Iterator[T]:
    """The result of each task, in their order; a task has a server to itself while it runs."""
    free: SimpleQueue[Forks] = SimpleQueue()
    for server in servers:
        free.put(server)

    def run(task: Callable[[Forks], T]) -> T:
        server = free.get()
        try:
            return task(server)
        finally:
            free.put(server)

    with ThreadPoolExecutor(len(servers)) as pool:
        yield from pool.map(run, tasks)


def serve() -> None:
    """Import what every command needs, and never let a thread pool start: forks of that would wait for ever."""
    from pipeline.runtime.hardware import import_tensorflow

    import_tensorflow()
    import mlflow.pyfunc  # noqa: F401

    import pipeline.experiment.run  # noqa: F401

    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            child = os.fork()
            if child == 0:
                os.dup2(stdout.fileno(), 1)
                os.dup2(stderr.fileno(), 2)
                os._exit(_command(asked))
            _, how = os.waitpid(child, 0)
            told = []
            for stream in (stdout, stderr):
                stream.seek(0)
                told.append(stream.read().decode())
        print(json.dumps([os.waitstatus_to_exitcode(how), *told]), flush=True)


def _command(asked: dict[str, Any]) -> int:
    """The exit status of a command run in this process."""
    os.chdir(asked["cwd"])
    os.environ.update(asked["environment"])
    sys.argv = asked["argv"]
    status = 1
    try:
        for death in asked["deaths"]:
            arm(Death(**death))
        runpy.run_path(sys.argv[0], run_name="__main__")
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


def arm(death: Death) -> None:
    """Make this process send itself the signal at that point."""
    calls = 0

    def comes(told: str) -> bool:
        nonlocal calls
        calls += death.only in told
        return death.only in told and calls == death.call

    module, colon, name = death.at.partition(":")
    if not colon:
        event, _, pattern = death.at.partition(" ")

        def heard(found: str, arguments: tuple[Any, ...]) -> None:
            if found == event and re.search(pattern, str(arguments[0])) and comes(str(arguments)):
                _strike(death)

        sys.addaudithook(heard)
        return
    owner: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        inner = getattr(owner, part)
        if isinstance(inner, ModuleType):  # as `os`, which others use too: only this module sees the change
            inner = SimpleNamespace(**vars(inner))
            setattr(owner, part, inner)
        owner = inner
    function = getattr(owner, last)

    def deadly(*arguments: Any, **named: Any) -> Any:
        now = comes(str((arguments, named)))
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
    """`run.py` started like any program, and killed from outside after so many seconds unless it has ended."""
    with subprocess.Popen(
        [sys.executable, RUN, *arguments], cwd=cwd, env=environment(**more),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()
    return process.returncode


if __name__ == "__main__":
    serve()
