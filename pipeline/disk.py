"""What is written is on the disk, whatever happens to the power."""

import os
from pathlib import Path


def flush(path: Path) -> None:
    """Have the content of a file, or the names in a folder, on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
