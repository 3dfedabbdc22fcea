"""The runs on this machine, listed and found by name."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.tracking.journal import FILE
from pipeline.tracking.run_ref import RUNS, RunRef


def local_runs() -> Iterator[RunRef]:
    """All runs under mlruns/ whose journal has begun and that this user can read, the one written last first."""
    found = [RunRef(journal.parent) for journal in RUNS.glob(f"[!.]*/{FILE}")]
    begun = [run for run in found if _has_begun(run)]
    yield from sorted(begun, key=lambda run: -(run.folder / FILE).stat().st_mtime)


def unreadable_runs() -> list[Path]:
    """The folders under mlruns/ whose journal another user has made, and this one cannot read."""
    return sorted(folder for folder in RUNS.glob("[!.]*") if not _is_readable(folder / FILE))


def find_local(name: str) -> RunRef | None:
    """The run with this key or MLflow id, if it is on this machine."""
    return next((run for run in local_runs() if name in (run.key, run.run_id)), None)


def _has_begun(run: RunRef) -> bool:
    try:
        return run.begin() is not None
    except PermissionError:  # another user's, which must stop no command of this one
        return False


def _is_readable(file: Path) -> bool:
    """False if this user may not read a file, or not even look for it."""
    try:
        file.open("rb").close()
    except PermissionError:
        return False
    except OSError:  # there is none
        pass
    return True
