"""Commands in forks of a process that has imported TensorFlow, so that none of them waits for that import.

`python -m tests.end_to_end.forks` is that process: a line of JSON in, a command run to its end, a line of JSON out.
"""

import atexit
import functools
import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.runtime.files import ROOT


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    status: int  # that of a process which a signal ended is the signal's number, negative
    stdout: str
    stderr: str


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with the project importable and without MLflow's settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    return {**inherited, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **more}


class ForkServer:
    """A process that runs commands, one at a time, each in a fork of its own."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.end_to_end.forks"], env=environment(), cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._lock = threading.Lock()

    def run(self, cwd: Path, *arguments: str, stdin: str = "", deaths: Sequence[Any] = (), **more: str) -> Ended:
        """Python with these arguments, as on its command line, to its end.

        Args:
            deaths: where the process kills itself, see `tests.end_to_end.killing.Death`.
            more: set in the environment.
        """
        request = {
            "cwd": str(cwd), "arguments": arguments, "stdin": stdin, "environment": environment(**more),
            "deaths": [asdict(death) for death in deaths],
        }  # fmt: skip
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._lock:
            print(json.dumps(request), file=self._process.stdin, flush=True)
            return Ended(*json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


@functools.cache
def fork_server(number: int = 0) -> ForkServer:
    """One of the servers of this process, which are started on first use and end with it."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def serve() -> None:
    """Import what every command needs, and never let a thread pool start: forks of that would wait for ever."""
    from pipeline.runtime.hardware import import_tensorflow

    import_tensorflow()
    import mlflow.pyfunc  # noqa: F401
    from mlflow.utils.requirements_utils import _init_modules_to_packages_map

    import pipeline.experiment.run  # noqa: F401
    from pipeline.config.overrides import checked_config
    from pipeline.tracking.store import connect

    # What a process does once: SQLAlchemy maps MLflow's tables, Hydra builds its parser, MLflow looks at all packages.
    with tempfile.TemporaryDirectory() as folder:
        connect(f"sqlite:///{folder}/mlflow.db").search_experiments()
    checked_config([])
    _init_modules_to_packages_map()
    gc.collect()
    gc.freeze()  # no fork's garbage collection walks through what was imported here

    for line in sys.stdin:
        request = json.loads(line)
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            stdin.write(request["stdin"].encode())
            stdin.seek(0)
            child = os.fork()
            if child == 0:
                for descriptor, stream in enumerate((stdin, stdout, stderr)):
                    os.dup2(stream.fileno(), descriptor)
                sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)  # the server's holds further requests
                os._exit(_command(request))
            _, how = os.waitpid(child, 0)
            printed = []
            for stream in (stdout, stderr):
                stream.seek(0)
                printed.append(stream.read().decode())
        print(json.dumps([os.waitstatus_to_exitcode(how), *printed]), flush=True)


def _command(request: dict[str, Any]) -> int:
    """The exit status of a command run in this process."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which is ignored where the tests themselves run under `nohup`
    tempfile.tempdir = None  # found again, in this environment
    first, *rest = request["arguments"]
    status = 1
    try:
        if request["deaths"]:
            from tests.end_to_end.killing import Death, arm

            for death in request["deaths"]:
                arm(Death(**death))
        if first == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        elif first == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = [first, *rest]
            runpy.run_path(first, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    threading._shutdown()  # type: ignore[attr-defined]  # what the interpreter does at its end: threads, then exit handlers
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    serve()
