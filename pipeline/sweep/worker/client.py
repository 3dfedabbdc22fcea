"""The other end of `pipeline.sweep.worker`: a child process that is started on first use and replaced when it dies."""

import atexit
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence

from pipeline.runtime import signals
from pipeline.runtime.files import ROOT
from pipeline.sweep.worker.protocol import Message

WORKER = (sys.executable, "-P", "-m", "pipeline.sweep.worker")  # -P: no module is taken from the current folder
LAST_WORDS = 5.0  # seconds that an idle child has to end


class WorkerDied(Exception):
    """The child ended in the middle of a request."""


class WarmWorker:
    """One child process and the two pipes to it."""

    def __init__(self, command: Sequence[str] = WORKER) -> None:
        reading, writing = os.pipe()
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        # In a session of its own, since Ctrl-C goes to all processes of a terminal's: it is passed on, once.
        self.process = subprocess.Popen(
            [*command, str(writing)],
            stdin=subprocess.PIPE,
            pass_fds=(writing,),
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        os.close(writing)
        self._answers, self._unread = reading, b""
        self.settings: object = None  # what TensorFlow was set up with, which cannot be changed

    @property
    def lives(self) -> bool:
        """Whether it can be asked."""
        return self.process.poll() is None

    def ask(self, request: Message, told: Callable[[Message], None] = lambda message: None) -> Message:
        """Send a request and wait for its answer.

        Args:
            told: called with every message before the answer.

        Raises:
            WorkerDied: it did not answer.
            Interrupted: by a signal, when the child, to which it was passed on, has ended.
        """
        try:
            assert self.process.stdin is not None
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            raise WorkerDied(self._how_it_ended()) from error
        except signals.Interrupted as error:
            self._end(error)
        try:
            while (message := self._next()) is not None:
                if message["kind"] == "answer":
                    return message
                told(message)
        except signals.Interrupted as error:
            self._end(error, told)
        raise WorkerDied(self._how_it_ended())

    def close(self) -> None:
        """Let an idle child end; one that does not is killed."""
        if self.process.stdin is not None and not self.process.stdin.closed:
            with contextlib.suppress(OSError):  # it died before it read all
                self.process.stdin.close()
        try:
            self.process.wait(LAST_WORDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self._answers >= 0:
            os.close(self._answers)
            self._answers = -1

    def _end(self, error: signals.Interrupted, told: Callable[[Message], None] = lambda message: None) -> None:
        """Pass a signal on and wait until the child has written its checkpoint; a second signal kills it."""
        self.process.send_signal(error.number)
        try:
            while (message := self._next()) is not None:
                if message["kind"] != "answer":
                    told(message)
            self.process.wait()
        except signals.Interrupted:
            self.process.kill()
            self.process.wait()
        raise error

    def _next(self) -> Message | None:
        """The next message; None when the child has ended. A signal in between loses nothing that was read."""
        while b"\n" not in self._unread:
            more = os.read(self._answers, 2**16)
            if not more:
                return None
            self._unread += more
        line, _, self._unread = self._unread.partition(b"\n")
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def _how_it_ended(self) -> str:
        status = self.process.wait()
        if status == -signal.SIGKILL:
            return "its process was killed (SIGKILL), as when memory runs out"
        if status < 0:
            return f"its process was ended by {signal.Signals(-status).name}" + (
                ", as when TensorFlow finds no more memory" if status == -signal.SIGABRT else ""
            )
        return f"its process ended with status {status}"


_worker: WarmWorker | None = None


def warm_worker(settings: object) -> WarmWorker:
    """This process's child, warm from the last trial where that can be: alive, and set up as this one needs it."""
    global _worker
    if _worker is not None and (not _worker.lives or _worker.settings not in (None, settings)):
        close_worker()
    if _worker is None:
        start_worker()
    assert _worker is not None
    _worker.settings = settings
    return _worker


def start_worker() -> WarmWorker:
    """Start this process's child, so that it imports while other things are done."""
    global _worker
    if _worker is None:
        _worker = WarmWorker()
        atexit.register(close_worker)
    return _worker


def terminate_worker() -> None:
    """Let a trial in this process's child end with a checkpoint, as after SIGTERM."""
    if _worker is not None and _worker.lives:
        _worker.process.terminate()


def close_worker() -> None:
    """End this process's child; the next trial gets a new one."""
    global _worker
    if _worker is not None:
        worker, _worker = _worker, None
        worker.close()
        atexit.unregister(close_worker)
