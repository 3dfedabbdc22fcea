"""The runs on this machine, listed and found by name."""

from collections.abc import Iterator

from pipeline.tracking.journal import FILE
from pipeline.tracking.run_ref import RUNS, RunRef


def local_runs() -> Iterator[RunRef]:
    """All runs under mlruns/ whose journal has begun, the one that was written last first."""
    found = [RunRef(journal.parent) for journal in RUNS.glob(f"[!.]*/{FILE}")]
    begun = [run for run in found if run.begin() is not None]
    yield from sorted(begun, key=lambda run: -(run.folder / FILE).stat().st_mtime)


def find_local(name: str) -> RunRef | None:
    """The run with this key or MLflow id, if it is on this machine."""
    return next((run for run in local_runs() if name in (run.key, run.run_id)), None)
