"""A real `mlflow server` that can be stopped and started again at the same address."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import psutil

from tests.end_to_end.commands import environment


class Server:
    """Keeps its database and artifacts in a folder; not started before `start`."""

    def __init__(self, place: Path, database: str | None = None) -> None:
        """Args: database: where it keeps its runs; None: a file in the folder."""
        self.place, self.database = place, database or f"sqlite:///{place}/mlflow.db"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self._log = place.with_name(f"{place.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--port", str(self.port), "--workers", "1"]
        command += ["--backend-store-uri", self.database]
        command += ["--artifacts-destination", str(self.place / "kept")]
        settings = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                command, cwd=self.place, env=environment(**settings), stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < until, self._log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL to it and to the processes that it started; nothing where it is not running."""
        if self._process is not None:
            children = psutil.Process(self._process.pid).children(recursive=True)
            os.killpg(self._process.pid, signal.SIGKILL)  # a session of its own
            self._process.wait()
            self._process = None
            while any(_lives(child) for child in children):
                time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            urlopen(f"{self.address}/health", timeout=5).close()
        except OSError:
            return False
        return True


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
