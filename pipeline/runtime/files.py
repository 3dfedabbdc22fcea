"""Where this code lies, and writing so that what is written is on the disk, whatever happens to the power."""

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent  # pipeline/
ROOT = PACKAGE.parent  # of the project: run.py, conf/, pipeline/


def flush(path: Path) -> None:
    """Have the content of a file, or the names in a folder, on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
