"""The warm child process in which trials run one after the other.

`python -m pipeline.sweep.worker <fd> <fd> <kernels>`: it imports TensorFlow with these kernels.

It reads requests from the first descriptor and writes reports and answers to the second (`protocol`); its stdout and
stderr are the user's. It imports TensorFlow once and caches the data between trials. It ends when the pipe that it
reads is closed, which happens at the latest when its parent dies.
"""

import contextlib
import gc
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from pipeline.runtime import output, signals
from pipeline.runtime.cli import exit_status
from pipeline.runtime.errors import UserError
from pipeline.sweep.worker.protocol import Message, Request, Stopped, Work, from_json, to_json

GRACE_PERIOD = 120.0  # seconds in which a trial without a parent finishes its step and writes its checkpoint


def serve(prepare: Callable[[], Work], requests: int, answers: int) -> int:
    """Answer requests until there are no more; returns the exit status.

    Args:
        prepare: called once, when the process is ready to be interrupted; returns the function that answers a request,
            which may send reports before it returns, and raises nothing but an interrupt.
        requests: descriptor to read from.
        answers: descriptor to write to.
    """
    signals.install()
    output.protect()
    output.make_expendable()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    received: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
    working, orphaned = threading.Event(), threading.Event()
    outgoing = Connection(answers, readable=False)

    def read() -> None:
        incoming = Connection(requests, writable=False)
        with contextlib.suppress(EOFError, OSError):
            while True:
                received.put(from_json(incoming.recv_bytes()))
        # The parent has closed the pipe or is dead: a trial in flight ends as after SIGTERM.
        orphaned.set()
        received.put(None)
        if working.is_set():
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_PERIOD)
        os.kill(os.getpid(), signal.SIGKILL)

    def send(message: Message) -> None:
        with contextlib.suppress(OSError):  # the parent is dead, or reads no more
            outgoing.send_bytes(to_json(message))

    threading.Thread(target=read, name="requests", daemon=True).start()
    try:
        work = prepare()
        while (request := received.get()) is not None:
            working.set()
            if orphaned.is_set():
                break
            answer = work(request, send)
            working.clear()
            sys.stdout.flush()
            send(answer)
            if isinstance(answer, Stopped):
                return 128 + signal.SIGTERM
    except signals.Interrupted as error:
        return error.exit_status
    return 0


def main() -> int:
    """Serve trials."""

    def prepare() -> Work:
        from pipeline.runtime.hardware import import_tensorflow

        import_tensorflow(sys.argv[3])
        # Each trial traces its own graphs; after the fifth, TensorFlow warns of needless retracing.
        logging.getLogger("tensorflow").setLevel(logging.ERROR)
        from pipeline.sweep.worker.tasks import Worker

        gc.freeze()  # no garbage collection walks through what was imported
        return Worker().work

    return serve(prepare, int(sys.argv[1]), int(sys.argv[2]))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UserError as error:  # TensorFlow or Keras cannot be imported with the user's settings
        sys.exit(exit_status(error))
