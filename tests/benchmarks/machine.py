"""What a figure was measured on, and the commands that are measured."""

import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import psutil
from mlflow import MlflowClient
from mlflow.entities import Run

from tests.end_to_end.commands import RUN, environment

# glibc gives the memory of large tensors back to the system after each step, and PyTorch waits for it anew in the next;
# with these variables of its environment a process retains that memory.
RETAINED = {"MALLOC_MMAP_THRESHOLD_": f"{2**32}", "MALLOC_TRIM_THRESHOLD_": f"{2**34}", "MALLOC_TOP_PAD_": f"{2**28}"}


def described() -> str:
    """The machine in a line: processor, cores, memory, versions, and how busy it was."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(": ")[2] if names else model
    memory = psutil.virtual_memory().total / 2**30
    versions = f"Python {platform.python_version()}, TensorFlow {version('tensorflow')}, Optuna {version('optuna')}"
    return f"machine: {model}, {os.cpu_count()} cores, {memory:.0f} GiB; {versions}; load {os.getloadavg()[0]:.1f}"


def run(cwd: Path, *arguments: str) -> None:
    """`run.py` in a folder, to its end; what it says is added to `output.txt` there.

    Raises:
        RuntimeError: it failed.
    """
    cwd.mkdir(parents=True, exist_ok=True)
    with (cwd / "output.txt").open("a") as output:
        status = subprocess.call(
            [sys.executable, RUN, *arguments], cwd=cwd, env=environment(), stdout=output, stderr=subprocess.STDOUT
        )
    if status:
        raise RuntimeError(f"run.py {' '.join(arguments)}: status {status}, see {cwd / 'output.txt'}")


def first_step(client: MlflowClient, run: Run) -> float:
    """When its only training step was over, in seconds since 1970: what followed it is logged."""
    logged = client.get_metric_history(run.info.run_id, "time/train_seconds")[0].timestamp / 1000
    return float(logged - run.data.metrics["time/validation_seconds"] - run.data.metrics["time/checkpoint_seconds"])
