"""The process that works on a run, and whether it is still alive: host, process id and start time."""

import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

STALE_AFTER = 180.0  # seconds without a heartbeat after which a process on another machine counts as dead
HEARTBEAT = 20.0  # seconds between two


@dataclass(frozen=True)
class Process:
    """A process, identified so that a later one with the same process id is not mistaken for it."""

    host: str  # with the namespace of process ids: two containers on one machine cannot see each other's
    boot: str  # a different one each time the machine starts; empty where it is not known
    pid: int
    started: float  # seconds after the machine's start: seconds since the epoch would change when the clock is set

    @staticmethod
    def this() -> "Process":
        """The calling process."""
        return Process(_host(), _boot(), os.getpid(), _started(psutil.Process()))

    @staticmethod
    def read(stored: Any) -> "Process | None":
        """A process from its `vars` as they were stored in JSON or in tags; None if they are not those of a process."""
        try:
            started = float(stored["started"])
            if started > 2**30:  # 34 years: earlier versions stored seconds since the epoch
                started -= psutil.boot_time()
            found = Process(stored["host"], stored["boot"], int(stored["pid"]), started)
        except (KeyError, TypeError, ValueError):
            return None
        return found if isinstance(found.host, str) and isinstance(found.boot, str) and found.pid > 0 else None

    @property
    def on_this_host(self) -> bool:
        """Whether it runs, or ran, on a machine of this name. Several machines may have the same name."""
        return self.host == _host()

    @property
    def on_this_boot(self) -> bool:
        """Whether it belongs to this machine since its last start, so that its process id can be looked up."""
        return self.on_this_host and self.boot == _boot()

    @property
    def is_this_process(self) -> bool:
        """Whether it is the calling process."""
        return self.on_this_boot and self.pid == os.getpid()

    @property
    def is_alive(self) -> bool:
        """Whether it still runs; False for one that cannot be looked up (see `on_this_boot`)."""
        if not self.on_this_boot:
            return False
        try:
            process = psutil.Process(self.pid)
            return abs(_started(process) - self.started) < 2 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def where(process: Process | None) -> str:
    """` on <host> (pid <pid>)` for a message; empty if it is not known."""
    return "" if process is None else f" on {process.host.partition(' ')[0]} (pid {process.pid})"


def _started(process: psutil.Process) -> float:
    """When a process started, in seconds after the machine's start.

    psutil gives both instants since the epoch; setting the clock moves both, and their difference stays. On macOS it
    does so only within a process, since psutil does not learn of clock changes before it was imported.
    """
    return float(process.create_time() - psutil.boot_time())


def _host() -> str:
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {os.readlink(namespace)}" if namespace.is_symlink() else socket.gethostname()


def _boot() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text().strip() if boot.is_file() else ""
