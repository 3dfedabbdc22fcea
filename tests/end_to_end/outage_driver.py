"""A process that runs commands one after the other, and waits after epochs while something happens to the server."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.end_to_end.commands import Ended, environment

# Runs commands one after the other in one process, as `several` does. A line on stdin gives each: what is started, the
# epochs after which it waits for another line, and the seconds for which a finished run waits for its server.
DRIVER = """
import contextlib, io, json, os, runpy, sys
from pipeline.tracking import tracked_run
reported, pauses, log = os.fdopen(os.dup(1), "w"), [], tracked_run.TrackedRun.log_metrics
def tell(*message):
    print(json.dumps(message), file=reported, flush=True)
def metrics(run, values, step):
    log(run, values, step)
    if "val/loss" in values and step in pauses:
        pauses.remove(step)
        tell("paused", step)
        sys.stdin.readline()
tracked_run.TrackedRun.log_metrics = metrics
while line := sys.stdin.readline():
    command, pauses[:], tracked_run.SERVER_TIMEOUT = json.loads(line)
    sys.argv, status = command, 0
    streams = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)]
    with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
        try:
            if command[0].endswith(".py"):
                runpy.run_path(command[0], run_name="__main__")
            else:
                runpy.run_module(command[0], run_name="__main__", alter_sys=False)
        except SystemExit as end:
            status = end.code
        except BaseException:
            import traceback
            traceback.print_exc()
            status = 1
        [stream.flush() for stream in streams]
    tell("ended", status, *(stream.buffer.getvalue().decode() for stream in streams))
"""


class Driver:
    """The process that runs the commands."""

    def __init__(self, cwd: Path) -> None:
        self.cwd = cwd
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER], cwd=cwd, env=environment(MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL="2"),
            text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, *command: str, pauses: dict[int, Callable[[], object]] | None = None, patience: float = 60) -> Ended:
        """One command to its end. `pauses`: what is done while training waits after an epoch."""
        self._say(json.dumps([command, list(pauses or {}), patience]))
        while (heard := self._hear())[0] == "paused":
            assert pauses is not None
            pauses[heard[1]]()
            self._say("")
        return Ended(*heard[1:])

    def _say(self, line: str) -> None:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def _hear(self) -> list[Any]:
        line = self.process.stdout.readline()
        assert line, f"the process ended with {self.process.wait()}"
        return json.loads(line)
