"""The parent's end of `pipeline.sweep.worker`: a child process, started on first use, replaced when it dies."""

import atexit
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from multiprocessing.connection import Pipe
from typing import Any

from pipeline.runtime import signals
from pipeline.runtime.files import ROOT
from pipeline.runtime.limits import kills_for_memory
from pipeline.sweep.worker.protocol import Request, TrialStarted, from_json, to_json

WORKER = (sys.executable, "-P", "-m", "pipeline.sweep.worker")  # -P: no module is imported from the current folder
CLOSE_TIMEOUT = 5.0  # seconds after which an idle child that does not end is killed

Settings = tuple[int, bool, str]  # threads, deterministic, kernels: TensorFlow has them once in a process


class WorkerDied(Exception):
    """The child ended before it answered."""


class WarmWorker:
    """One child process and the two pipes to it."""

    def __init__(self, command: Sequence[str] = WORKER, kernels: str = "auto") -> None:
        """Start it.

        Args:
            kernels: that it imports TensorFlow with.
        """
        requests, self._requests = Pipe(duplex=False)
        self._answers, answers = Pipe(duplex=False)
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        # In a session of its own: a terminal sends Ctrl-C to all processes of its session, and it is passed on once.
        self.process = subprocess.Popen(
            [*command, str(requests.fileno()), str(answers.fileno()), kernels],
            stdin=subprocess.DEVNULL,
            pass_fds=(requests.fileno(), answers.fileno()),
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        requests.close()
        answers.close()
        self._kills = kills_for_memory()
        self.kernels = kernels
        self.settings: Settings | None = None

    @property
    def is_alive(self) -> bool:
        """Whether it can be sent a request."""
        return self.process.poll() is None

    def takes(self, settings: Settings) -> bool:
        """Whether it can be sent a request with these settings."""
        return self.is_alive and self.settings in (None, settings) and self.kernels == settings[-1]

    def ask(self, request: Request, on_start: Callable[[str], None] = lambda run_key: None) -> Any:
        """Send a request and wait for its answer.

        Args:
            on_start: called with the run's key when the trial's run exists.

        Raises:
            WorkerDied: the child ended without an answer.
            Interrupted: by a signal, which was passed on to the child; the child has ended.
        """
        try:
            self._requests.send_bytes(to_json(request))
            while isinstance(message := from_json(self._answers.recv_bytes()), TrialStarted):
                on_start(message.run_key)
            return message
        except (EOFError, OSError) as error:
            raise WorkerDied(self._how_it_ended()) from error
        except signals.Interrupted as error:
            self._interrupt(error.number)
            raise

    def close(self) -> None:
        """Let an idle child end; one that does not is killed."""
        self._requests.close()
        try:
            self.process.wait(CLOSE_TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._answers.close()

    def _interrupt(self, number: int) -> None:
        """Pass a signal on and wait until the child has written its checkpoint; a second signal kills it."""
        self.process.send_signal(number)
        self._answers.close()  # a message may be half read; the child ends, and does not wait for a reader
        try:
            self.process.wait()
        except signals.Interrupted:
            self.process.kill()
            self.process.wait()

    def _how_it_ended(self) -> str:
        status = self.process.wait()
        if status == -signal.SIGKILL and (kills_for_memory() or 0) > (self._kills or 0):
            return (
                "its process was killed by the system, as no memory was left; fewer trials at a time, or a smaller "
                "batch_size, need less"
            )
        if status == -signal.SIGKILL:
            return "its process was killed (SIGKILL), as when memory runs out"
        if status == -signal.SIGABRT:
            return "its process was ended by SIGABRT, as when TensorFlow finds no more memory"
        if status < 0:
            return f"its process was ended by {signal.Signals(-status).name}"
        return f"its process ended with status {status}"


_worker: WarmWorker | None = None


def warm_worker(settings: Settings) -> WarmWorker:
    """This process's child: the one of the last trial where it is alive and was set up with the same settings."""
    global _worker
    if _worker is not None and not _worker.takes(settings):
        close_worker()
    worker = start_worker(settings[-1])
    worker.settings = settings
    return worker


def start_worker(kernels: str) -> WarmWorker:
    """Start this process's child, so that it imports TensorFlow while other things are done.

    Args:
        kernels: resolved.
    """
    global _worker
    if _worker is None:
        _worker = WarmWorker(kernels=kernels)
        atexit.register(close_worker)
    return _worker


def terminate_worker() -> None:
    """Let a trial in this process's child end with a checkpoint, as after SIGTERM."""
    if _worker is not None and _worker.is_alive:
        _worker.process.terminate()


def close_worker() -> None:
    """End this process's child; the next trial gets a new one."""
    global _worker
    if _worker is not None:
        worker, _worker = _worker, None
        worker.close()
        atexit.unregister(close_worker)
