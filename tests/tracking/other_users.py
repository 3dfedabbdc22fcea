"""Files of another user, which whoever runs the tests, as root, could write and read."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest


def forbid(monkeypatch: pytest.MonkeyPatch, *files: Path, reading: bool = False) -> None:
    """Let this process write none of the files, and with `reading` read none either."""
    forbidden, open_descriptor, open_path = {file.absolute() for file in files}, os.open, Path.open

    def refuse(path: Any, writes: bool) -> None:
        if Path(os.fsdecode(path)).absolute() in forbidden and (reading or writes):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def os_open(path: Any, flags: int, *more: Any, **named: Any) -> int:
        refuse(path, bool(flags & (os.O_WRONLY | os.O_RDWR)))
        return open_descriptor(path, flags, *more, **named)

    def path_open(path: Path, mode: str = "r", *more: Any, **named: Any) -> Any:
        refuse(path, bool(set(mode) & set("wa+x")))
        return open_path(path, mode, *more, **named)

    monkeypatch.setattr(os, "open", os_open)
    monkeypatch.setattr(Path, "open", path_open)
