"""Which process works on a run, and whether it still lives: host, process id and when it was started."""

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
    """A process that no later one can be taken for, since process ids are given out again."""

    host: str  # with the namespace of process ids: two containers of one machine do not see each other's
    boot: str  # another one after every start of the machine; empty where it is not known
    pid: int
    started: float  # seconds after the machine's start: since the epoch they would move when the clock is set

    @staticmethod
    def this() -> "Process":
        """The process that asks."""
        return Process(_host(), _boot(), os.getpid(), _started(psutil.Process()))

    @staticmethod
    def read(stored: Any) -> "Process | None":
        """What `vars` of a process became as JSON or as tags, or None where it is nothing of the kind."""
        try:
            started = float(stored["started"])
            if started > 2**30:  # 34 years: written when it was still counted from the epoch
                started -= psutil.boot_time()
            found = Process(stored["host"], stored["boot"], int(stored["pid"]), started)
        except (KeyError, TypeError, ValueError):
            return None
        return found if isinstance(found.host, str) and isinstance(found.boot, str) and found.pid > 0 else None

    @property
    def here(self) -> bool:
        """Whether it runs, or ran, on a machine of this name; several machines can have one name."""
        return self.host == _host()

    @property
    def visible(self) -> bool:
        """Whether it can be looked up: it belongs to this start of this machine."""
        return self.here and self.boot == _boot()

    @property
    def asks(self) -> bool:
        """Whether it is the process that asks."""
        return self.visible and self.pid == os.getpid()

    @property
    def lives(self) -> bool:
        """Whether a visible process is still there; of any other nothing can be seen."""
        if not self.visible:
            return False
        try:
            process = psutil.Process(self.pid)
            return abs(_started(process) - self.started) < 2 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False


def where(process: Process | None) -> str:
    """` on <host>, process <id>`, or nothing where that is not known."""
    return "" if process is None else f" on {process.host.partition(' ')[0]}, process {process.pid}"


def _started(process: psutil.Process) -> float:
    """Both instants are counted from one start of the machine, which setting the clock moves; what is between stays.

    On macOS only within a process: psutil knows of no step before it was imported.
    """
    return float(process.create_time() - psutil.boot_time())


def _host() -> str:
    namespace = Path("/proc/self/ns/pid")
    return f"{socket.gethostname()} {os.readlink(namespace)}" if namespace.is_symlink() else socket.gethostname()


def _boot() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id")
    return boot.read_text().strip() if boot.is_file() else ""
