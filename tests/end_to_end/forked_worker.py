"""The warm child of a sweep as a fork of the process that starts it, itself a fork with TensorFlow imported."""

import json
import os
import socket
import subprocess
import threading
import types
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.sweep.worker import client

LIMIT = 1 << 20  # bytes of an environment


class ForkedWorker(subprocess.Popen[bytes]):
    """A process that waits until it is wanted, forked while the one that will want it has a single thread."""

    def __init__(self, run_module: Callable[[list[str]], int]) -> None:
        """Args: run_module: runs `python -m` with these arguments in this process; the exit status."""
        self._wanted, wanted = socket.socketpair()
        self.args, self.returncode = "a forked worker", None
        self.stdin = self.stdout = self.stderr = None
        self._waitpid_lock, self._child_created = threading.Lock(), True
        self.pid = os.fork()
        if self.pid == 0:
            self._wanted.close()
            self._await_start(wanted, run_module)
        wanted.close()

    def start(self, arguments: Sequence[str], descriptors: Sequence[int], environment: dict[str, str]) -> None:
        """Let it work.

        Args:
            arguments: of `python -m`; those that are descriptors are other numbers there.
        """
        request = json.dumps([arguments, [*map(str, descriptors)], environment]).encode()
        assert len(request) < LIMIT
        socket.send_fds(self._wanted, [request], descriptors)
        self._wanted.close()

    @staticmethod
    def _await_start(wanted: socket.socket, run_module: Callable[[list[str]], int]) -> None:
        """Wait for `start`, or for the end of the process that could call it."""
        request, descriptors, *_ = socket.recv_fds(wanted, LIMIT, 2)
        if not request:
            os._exit(0)
        arguments, numbers, environment = json.loads(request)
        renumbered = dict(zip(numbers, map(str, descriptors), strict=True))
        os.setsid()
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(environment)
        os._exit(run_module([renumbered.get(argument, argument) for argument in arguments]))


def fork_first_worker(run_module: Callable[[list[str]], int]) -> None:
    """Let the first warm child of this process be one that is forked now; any after it is a new process."""
    forked = [ForkedWorker(run_module)]

    def start(command: Sequence[str], *, pass_fds: Sequence[int], env: dict[str, str], **more: Any) -> Any:
        if not forked or tuple(command[: len(client.WORKER)]) != client.WORKER:
            return subprocess.Popen(command, pass_fds=pass_fds, env=env, **more)
        worker = forked.pop()
        worker.start(command[len(client.WORKER) - 1 :], pass_fds, env)
        return worker

    client.subprocess = types.SimpleNamespace(**{**vars(subprocess), "Popen": start})
