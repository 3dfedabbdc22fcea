"""A process that runs commands one after the other, and waits after epochs while something happens to the server."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.end_to_end.forks import Ended, fork_server

# Runs commands one after the other in one process, as `several` does. A line of a pipe gives each: what is started, the
# epochs after which it waits for another line, and the seconds for which a finished run waits for its server.
DRIVER = """
import contextlib, io, json, runpy, sys
from pipeline.tracking import tracked_run
requests, reported = open(sys.argv[1]), open(sys.argv[2], "w")
pauses, log = [], tracked_run.TrackedRun.log_metrics
def tell(*message):
    print(json.dumps(message), file=reported, flush=True)
def metrics(run, values, step):
    log(run, values, step)
    if "val/loss" in values and step in pauses:
        pauses.remove(step)
        tell("paused", step)
        requests.readline()
tracked_run.TrackedRun.log_metrics = metrics
while line := requests.readline():
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
        pipes = [cwd / "requests", cwd / "answers"]
        for pipe in pipes:
            os.mkfifo(pipe)
        program, often = ["-c", DRIVER, *map(str, pipes)], {"MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "2"}
        self._end = ThreadPoolExecutor(1).submit(fork_server().run, cwd, *program, **often)
        self._requests, self._answers = pipes[0].open("w"), pipes[1].open()

    def run(self, *command: str, pauses: dict[int, Callable[[], object]] | None = None, patience: float = 60) -> Ended:
        """One command to its end. `pauses`: what is done while training waits after an epoch."""
        self._say(json.dumps([command, list(pauses or {}), patience]))
        while (heard := self._hear())[0] == "paused":
            assert pauses is not None
            pauses[heard[1]]()
            self._say("")
        return Ended(*heard[1:])

    def close(self) -> None:
        """Let the process end."""
        self._requests.close()
        self._end.result()
        self._answers.close()

    def _say(self, line: str) -> None:
        print(line, file=self._requests, flush=True)

    def _hear(self) -> list[Any]:
        line = self._answers.readline()
        assert line, self._end.result()
        return json.loads(line)
