"""How many trials of a sweep have failed, counted by all processes that run its jobs: `sweep.max_failures`."""

import tempfile
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Failures:
    """A folder with an empty file for each failure in this start of a sweep."""

    folder: Path
    most: int

    def count(self) -> None:
        """One more."""
        self.folder.mkdir(parents=True, exist_ok=True)
        tempfile.mkstemp(dir=self.folder)

    @property
    def hopeless(self) -> bool:
        """Whether there are as many as are allowed."""
        return self.folder.is_dir() and len(list(self.folder.iterdir())) >= self.most
