"""Whether a process that died silently was killed since no memory was left: the system counts such deaths by cgroup."""

import json
from pathlib import Path
from typing import Any

from pipeline.runtime.files import write_atomic
from pipeline.runtime.limits import kills_for_memory
from pipeline.runtime.process import Process
from pipeline.tracking.local_runs import find_local

FILE = "memory.json"  # in a run's folder
CGROUP = Path("/proc/self/cgroup")


def record_kills(folder: Path) -> None:
    """Write how many processes were killed for memory up to now into a run's folder.

    Raises:
        OSError: it cannot be written.
    """
    write_atomic(folder / FILE, json.dumps(_now()))


def suspicion(name: str) -> str:
    """`, probably for want of memory` for the message that a run was left RUNNING; empty if that is not known.

    Args:
        name: MLflow's id of the run, or its key.
    """
    run = find_local(name)
    return ", probably for want of memory" if run is not None and probably_out_of_memory(run.folder) else ""


def probably_out_of_memory(folder: Path) -> bool:
    """Whether a process was killed for memory since the last process of a run began, in the same cgroup.

    Args:
        folder: of a run whose process is dead.
    """
    try:
        before = json.loads((folder / FILE).read_text())
    except (OSError, ValueError):  # a run of an older version, or one that ended while it began
        return False
    now = _now()
    counted = isinstance(before, dict) and isinstance(before.get("kills"), int) and now["kills"] is not None
    same = counted and all(before.get(key) == now[key] for key in ("boot", "cgroup"))
    return same and now["kills"] > before["kills"]


def _now() -> dict[str, Any]:
    cgroup = CGROUP.read_text() if CGROUP.is_file() else ""
    return {"boot": Process.this().boot, "cgroup": cgroup, "kills": kills_for_memory()}
