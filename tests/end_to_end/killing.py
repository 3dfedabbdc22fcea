"""Commands that die at an exact point, each in a process forked from one that has imported TensorFlow.

`python -m tests.end_to_end.killing` is the process that they are forked from: for each line of JSON that it reads it
runs a command to its end and writes a line of JSON.
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
    """Where a process sends itself a signal. Several deaths of one command may name the same function."""

    at: str  # "module:Class.function", or an audit event of Python and a pattern: "os.rename checkpoints/step-"
    call: int = 1  # at which call, from 1
    after: bool = False  # after the function has returned, not before it is called
    number: int = signal.SIGKILL  # 0: no signal; instead, the disk of mlruns/runs becomes full
    only: str = ""  # only calls are counted whose arguments, as text, contain this


class Forks:
    """A process that runs commands, one at a time, each in a fork of its own."""

    def __init__(self) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.killing"], env=environment(), text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, cwd: Path, *arguments: str, deaths: tuple[Death, ...] = (), **more: str) -> Ended:
        """Run `run.py` with these arguments to its end or death; `more` is added to its environment.

        The status of a process that a signal ended is the signal's number, negative.
        """
        deadly = [asdict(death) for death in deaths]
        request = {"cwd": str(cwd), "argv": [RUN, *arguments], "deaths": deadly, "environment": more}
        assert self._server.stdin is not None and self._server.stdout is not None
        print(json.dumps(request), file=self._server.stdin, flush=True)
        return Ended(*json.loads(self._server.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait()


@contextlib.contextmanager
def forks() -> Iterator[Forks]:
    """`Forks` for a block."""
    server = Forks()
    try:
        yield server
    finally:
        server.close()


def in_parallel(servers: Sequence[Forks], tasks: Iterable[Callable[[Forks], T]]) -> Iterator[T]:
    """The results of the tasks, in their order; each task has a server to itself while it runs."""
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
    """Import what every command needs, without starting a thread pool, whose forks would wait for ever."""
    from pipeline.runtime.hardware import import_tensorflow

    import_tensorflow()
    import mlflow.pyfunc  # noqa: F401

    import pipeline.experiment.run  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            child = os.fork()
            if child == 0:
                os.dup2(stdout.fileno(), 1)
                os.dup2(stderr.fileno(), 2)
                os._exit(_command(request))
            _, how = os.waitpid(child, 0)
            output = []
            for stream in (stdout, stderr):
                stream.seek(0)
                output.append(stream.read().decode())
        print(json.dumps([os.waitstatus_to_exitcode(how), *output]), flush=True)


def _command(request: dict[str, Any]) -> int:
    """Run a command in this process; returns its exit status."""
    os.chdir(request["cwd"])
    os.environ.update(request["environment"])
    sys.argv = request["argv"]
    status = 1
    try:
        for death in request["deaths"]:
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


if __name__ == "__main__":
    serve()
