"""What all processes that run a sweep's jobs share: how many trials have failed, and whether they are to stop."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Failures:
    """A folder with an empty file for each failure in this start of a sweep: `sweep.max_failures`."""

    folder: Path
    most: int | None

    def count(self) -> None:
        """One more."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tempfile.mkstemp(dir=self.folder, prefix="failure-")

    def stop(self) -> None:
        """No trial is begun any more, and those that are under way end as after SIGTERM."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "stop").touch()

    def forget(self) -> None:
        """Remove what was counted; another process that works on the same sweep counts for itself."""
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def stopped(self) -> bool:
        """Whether all are to stop."""
        return (self.folder / "stop").exists()

    @property
    def hopeless(self) -> bool:
        """Whether there are as many as are allowed, or all are to stop."""
        return self.stopped or (self.most is not None and len(list(self.folder.glob("failure-*"))) >= self.most)
