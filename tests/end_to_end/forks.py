"""Commands in forks of a process that has imported TensorFlow, so that none of them waits for that import.

One such process serves all processes of a test session: `python -m tests.end_to_end.forks` with an open socket. Each
connection gets a fork that serves it: a line of JSON in, a command run to its end, a line of JSON out.
"""

import atexit
import functools
import gc
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.runtime.files import ROOT, locked
from tests.end_to_end.forked_worker import fork_first_worker


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
        # One place for all processes of a test session, which pytest-xdist gives a name.
        place = Path(tempfile.gettempdir(), f"forks-{os.environ.get('PYTEST_XDIST_TESTRUNUID', os.getpid())}")
        place.mkdir(mode=0o700, exist_ok=True)
        with locked(place / "lock"):
            self._connection = _connect(place / "socket")
        self._stream = self._connection.makefile("rw", encoding="utf-8")
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
        with self._lock:
            print(json.dumps(request), file=self._stream, flush=True)
            return Ended(*json.loads(self._stream.readline()))

    def close(self) -> None:
        """Let the process end."""
        self._stream.close()
        self._connection.close()


def _connect(address: Path) -> socket.socket:
    """A connection to the process that all others are forks of, which is started where it is not running."""
    connection = socket.socket(socket.AF_UNIX)
    if not address.exists():
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(address))
            listening.listen()  # from here on, connections wait for it
            command = [sys.executable, "-m", "tests.end_to_end.forks", str(listening.fileno()), str(address.parent)]
            subprocess.Popen(
                command, pass_fds=[listening.fileno()], env=environment(), cwd=ROOT, stdin=subprocess.DEVNULL
            )
    connection.connect(str(address))
    return connection


@functools.cache
def fork_server(number: int = 0) -> ForkServer:
    """One of the servers of this process, which are started on first use and end with it."""
    server = ForkServer()
    atexit.register(server.close)
    return server


def main(listening: socket.socket, place: Path) -> None:
    """Fork a server for each connection, until the last of them has ended; then remove the folder of the socket."""
    _import_what_commands_need()
    serving: set[int] = set()
    while True:
        if select.select([listening], [], [], 0.2)[0]:
            connection, _ = listening.accept()
            server = os.fork()
            if server == 0:
                listening.close()
                _serve(connection)
                os._exit(0)
            connection.close()
            serving.add(server)
        serving -= {server for server in serving if os.waitpid(server, os.WNOHANG)[0]}
        if not serving:
            with locked(place / "lock"):  # within which others connect
                if not select.select([listening], [], [], 0)[0]:
                    shutil.rmtree(place)
                    return


def _import_what_commands_need() -> None:
    """Import it, and never let a thread pool start: forks of that would wait for ever."""
    from pipeline.runtime.hardware import import_tensorflow

    import_tensorflow()
    import mlflow.pyfunc  # noqa: F401
    import numpy as np
    from mlflow.utils.requirements_utils import _init_modules_to_packages_map
    from PIL import Image

    import pipeline.experiment.run  # noqa: F401
    from pipeline.config.overrides import checked_config
    from pipeline.evaluate.confusion_plot import confusion_image
    from pipeline.tracking.provenance import packages
    from pipeline.tracking.pyfunc import REQUIREMENTS, pinned
    from pipeline.tracking.store import connect

    # What a process does once: SQLAlchemy maps MLflow's tables, Hydra builds its parser, all packages are listed,
    # matplotlib loads its font, Pillow its formats.
    with tempfile.TemporaryDirectory() as folder:
        connect(f"sqlite:///{folder}/mlflow.db").search_experiments()
    checked_config([])
    _init_modules_to_packages_map()
    packages()
    pinned(REQUIREMENTS)
    confusion_image(np.eye(2, dtype=np.int64), ["a", "b"])
    Image.init()
    gc.collect()
    gc.freeze()  # no fork's garbage collection walks through what was imported here


def _serve(connection: socket.socket) -> None:
    """Run the commands that a connection asks for, each in a fork."""
    stream = connection.makefile("rw", encoding="utf-8")
    for line in stream:
        request = json.loads(line)
        with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as stdout, tempfile.TemporaryFile() as stderr:
            stdin.write(request["stdin"].encode())
            stdin.seek(0)
            child = os.fork()
            if child == 0:
                for descriptor, file in enumerate((stdin, stdout, stderr)):
                    os.dup2(file.fileno(), descriptor)
                sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
                os._exit(_command(request))
            _, how = os.waitpid(child, 0)
            printed = []
            for file in (stdout, stderr):
                file.seek(0)
                printed.append(file.read().decode())
        print(json.dumps([os.waitstatus_to_exitcode(how), *printed]), file=stream, flush=True)


def _command(request: dict[str, Any]) -> int:
    """The exit status of a command run in this process."""
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # which is ignored where the tests themselves run under `nohup`
    tempfile.tempdir = None  # found again, in this environment
    if request["arguments"][1:2] == ["-m"]:
        fork_first_worker(lambda arguments: _run(["-m", *arguments], []))
    return _run(request["arguments"], request["deaths"])


def _run(arguments: list[str], deaths: list[dict[str, Any]]) -> int:
    """Python with these arguments in this process, to the end of its threads and exit handlers; the exit status."""
    first, *rest = arguments
    status = 1
    try:
        if deaths:
            from tests.end_to_end.killing import Death, arm

            for death in deaths:
                arm(Death(**death))
        if first == "-c":
            sys.argv = ["-c", *rest[1:]]
            exec(compile(rest[0], "<string>", "exec"), {"__name__": "__main__"})
        elif first == "-m":
            sys.argv = rest
            runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
        else:
            sys.argv = arguments
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
    main(socket.socket(fileno=int(sys.argv[1])), Path(sys.argv[2]))
