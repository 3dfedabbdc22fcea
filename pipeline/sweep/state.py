"""What is recorded of a sweep on this machine, and the lock that its processes share: mlruns/sweeps/<name>/."""

import contextlib
import json
import uuid
from typing import Any

from pipeline.config.addresses import HOME
from pipeline.runtime.files import locked, write_atomic

SWEEPS = HOME / "sweeps"
FILE = "sweep.json"


def sweep_lock(name: str) -> contextlib.AbstractContextManager[None]:
    """Held by one process of a sweep at a time, among those that share the folder."""
    return locked(SWEEPS / name / "lock")


def read_sweep(name: str) -> dict[str, Any]:
    """The record of a sweep: `run_key` (of its own run), `sources` and `data`. A new sweep's has a new key only."""
    try:
        record = json.loads((SWEEPS / name / FILE).read_text())
    except (OSError, ValueError):
        record = None
    return record if isinstance(record, dict) and "run_key" in record else {"run_key": uuid.uuid4().hex}


def write_sweep(name: str, record: dict[str, Any]) -> None:
    """Write the record, complete or not at all."""
    write_atomic(SWEEPS / name / FILE, json.dumps(record))
