"""Does what a message says is to be typed."""

import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path


def type_advice(faults: Iterable[str], cwd: Path) -> None:
    """Type the commands of messages in a POSIX shell, in their order; at least one has a command."""
    commands = [fault.partition("type: ")[2] for fault in faults if "type: " in fault]
    assert commands
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        typed = ["sh", "-c", command]
        done = subprocess.run(
            typed, cwd=cwd, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), command
