"""The warm child process in which trials run, one after the other: `python -m pipeline.sweep.worker <descriptor>`.

It reads requests from its stdin, one JSON object a line, and writes answers as JSON lines to the descriptor; its stdout
and stderr are the user's. It imports TensorFlow once and keeps the data between trials. It ends when its stdin does,
which happens at the latest when its parent dies.
"""

import contextlib
import errno
import io
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from pipeline.runtime import signals
from pipeline.sweep.worker.protocol import Message, Work

MERCY = 120.0  # seconds that a trial without a parent has to finish its step and to write its checkpoint


def serve(prepare: Callable[[], Work], descriptor: int) -> int:
    """Answer requests until there are no more; returns the exit status.

    Args:
        prepare: called once, when the process is ready to be interrupted; returns what does a request's work. That may
            tell more than its answer, and must not raise but for an interrupt.
    """
    signals.install()
    sys.stdout, sys.stderr = _patient(1), _patient(2)
    requests: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    working, orphaned = threading.Event(), threading.Event()
    source = os.fdopen(os.dup(0), encoding="utf-8")
    with open(os.devnull) as nothing:
        os.dup2(nothing.fileno(), 0)  # requests are not for whoever reads stdin
    answers = os.fdopen(descriptor, "w", encoding="utf-8", buffering=1)

    def read() -> None:
        for line in source:
            requests.put(line)
        # The parent has closed the pipe, or is gone: a trial in flight ends as after SIGTERM.
        orphaned.set()
        requests.put(None)
        if working.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(MERCY)
        os.kill(os.getpid(), signal.SIGKILL)

    def tell(message: Message) -> None:
        with contextlib.suppress(OSError):  # nobody is left to be told
            answers.write(json.dumps(message) + "\n")
            answers.flush()

    threading.Thread(target=read, name="requests", daemon=True).start()
    try:
        work = prepare()
        while (line := requests.get()) is not None:
            working.set()
            if orphaned.is_set():
                break
            answer = work(json.loads(line), tell)
            working.clear()
            sys.stdout.flush()
            tell({"kind": "answer", **answer})
            if answer.get("status") == "interrupted":
                return 128 + signal.SIGTERM
    except signals.Interrupted as error:
        return error.exit_status
    return 0


class _Patient(io.FileIO):
    """A file whose reader may be gone: what a killed sweep's terminal or pipe does not take must not fail a trial."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data) or 0
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EIO):
                raise
            return memoryview(data).nbytes


def _patient(descriptor: int) -> io.TextIOWrapper:
    """Standard output or error, a line at a time; a class in it may be called anything."""
    buffer = io.BufferedWriter(_Patient(descriptor, "w", closefd=False))
    return io.TextIOWrapper(buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True)


def main() -> int:
    """Serve trials."""

    def prepare() -> Work:
        from pipeline.runtime.hardware import import_tensorflow

        import_tensorflow()
        # Each trial traces its own graphs, which TensorFlow takes for a mistake after the fifth.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        from pipeline.sweep.worker.tasks import Worker

        return Worker().work

    return serve(prepare, int(sys.argv[1]))


if __name__ == "__main__":
    sys.exit(main())
