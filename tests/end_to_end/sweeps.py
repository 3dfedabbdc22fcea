"""`run.py -m` in a folder of its own: start it, wait for its output, and read what it left in MLflow."""

import importlib.util
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from mlflow.entities import Run

from tests.end_to_end.commands import RUN, Ended, environment, python, stored_runs

PARENT = "mlflow.parentRunId"


def needs(launcher: str) -> pytest.MarkDecorator:
    """Skips a test where a package of Hydra's launcher plugins is not installed."""
    found = importlib.util.find_spec("hydra_plugins") and importlib.util.find_spec(f"hydra_plugins.{launcher}")
    return pytest.mark.skipif(not found, reason=f"{launcher} is not installed")


def sweep(cwd: Path, *arguments: str) -> Ended:
    """A sweep, run to its end."""
    return python(RUN, "-m", *arguments, cwd=cwd)


@contextmanager
def started(cwd: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A sweep that is running; its stdout and stderr are read as one."""
    process = subprocess.Popen(
        [sys.executable, RUN, "-m", *arguments], cwd=cwd, env=environment(PYTHONUNBUFFERED="1"),
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """The output up to a line that matches the pattern."""
    output = ""
    assert process.stdout is not None
    for line in process.stdout:
        output += line
        if re.match(pattern, line):
            return output
    raise AssertionError(output)


def worker_of(process: subprocess.Popen[str]) -> psutil.Process:
    """The warm child of a sweep."""
    (worker,) = (
        child for child in psutil.Process(process.pid).children() if "pipeline.sweep.worker" in child.cmdline()
    )
    return worker


def children_of(cwd: Path, name: str) -> tuple[Run, list[Run]]:
    """A sweep's own run, and its trials, the oldest first."""
    _, runs = stored_runs(cwd)
    (parent,) = (run for run in runs if run.data.tags.get("is_sweep") and run.data.tags["sweep"] == name)
    return parent, [run for run in runs if run.data.tags.get(PARENT) == parent.info.run_id]


def table_of(stdout: str) -> list[list[str]]:
    """The rows of the table at the end: number, status, score, time, run, parameters."""
    _, _, table = stdout.rpartition("trial  status")
    lines = itertools.takewhile(re.compile(r"[* ]  \d+ ").match, table.splitlines()[1:])
    return [line[3:].split(maxsplit=5) for line in lines]
