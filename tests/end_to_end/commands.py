"""The real command line, started in a folder of its own, and what it left there."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import Run

from pipeline.runtime.files import ROOT

RUN = str(ROOT / "run.py")
CLASSES = ["background", "potted plant", "a/b", "a?b", "Büsche"]
# A network and an epoch that take no time: what is left is starting Python and compiling.
TINY = (
    "image_size=16", "model.depth=2", "model.width=4", "epochs=2", "batch_size=2", "threads=2", "precision=float32",
    "dataset=folder", "dataset.root=VOC", "dataset.splits.val=val", "dataset.splits.test=test",
)  # fmt: skip
NAMED = "dataset.classes=[" + ",".join(f'"{name}"' for name in CLASSES) + "]"


def tiny(**changes: str) -> list[str]:
    """Those options with an even smaller network and some changed; a dot in a key is written as two underscores."""
    options = dict(option.split("=", 1) for option in (*TINY, NAMED, "model.depth=1"))
    options |= {key.replace("__", "."): value for key, value in changes.items()}
    return [f"{key}={value}" for key, value in options.items()]


# Several commands in one process, each as if it were a program: importing TensorFlow is what takes the time.
SEVERAL = """
import contextlib, io, json, os, runpy, sys
for number, command in enumerate(json.loads(sys.stdin.read())):
    sys.argv = command
    told, status = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)], 0
    with contextlib.redirect_stdout(told[0]), contextlib.redirect_stderr(told[1]):
        try:
            if command[0].endswith(".py"):
                runpy.run_path(command[0], run_name="__main__")
            else:
                runpy.run_module(command[0], run_name="__main__", alter_sys=False)
        except SystemExit as end:
            status = end.code
        [stream.flush() for stream in told]
    print("\\x1e" + json.dumps([status, *(stream.buffer.getvalue().decode() for stream in told)]), flush=True)
"""


def environment(**more: str) -> dict[str, str]:
    """This process's environment, with the project importable and without MLflow's settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", **more}


def python(*arguments: str, cwd: Path, stdin: str = "", **more: str) -> subprocess.CompletedProcess[str]:
    """Python with these arguments, to its end; `more` is set in its environment."""
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment(**more), input=stdin,
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip


@dataclass(frozen=True)
class Ended:
    """How a command ended and what it said."""

    status: int
    stdout: str
    stderr: str


def several(commands: list[list[str]], cwd: Path, **more: str) -> list[Ended]:
    """Programs (`[file or module, argument, …]`) one after the other in one process; `more` is set for it."""
    done = python("-c", SEVERAL, cwd=cwd, stdin=json.dumps(commands), **more)
    ended = [Ended(*json.loads(line)) for line in re.findall(r"(?<=\x1e).*", done.stdout)]
    assert len(ended) == len(commands), done.stderr
    assert done.stderr == ""
    return ended


@dataclass(frozen=True)
class Finished:
    """A run that has ended well, and the folder it was started in."""

    cwd: Path
    stdout: str
    stderr: str
    run: Run
    client: mlflow.MlflowClient
    left: frozenset[str]  # what the folder held when the run had ended

    @property
    def id(self) -> str:
        return str(self.run.info.run_id)

    def artifact(self, name: str) -> Path:
        return Path(self.run.info.artifact_uri.removeprefix("file://")) / name


def stored_runs(cwd: Path) -> tuple[mlflow.MlflowClient, list[Run]]:
    """Every run in the default store of a folder, the oldest first; none where there is no store."""
    client = mlflow.MlflowClient(f"sqlite:///{cwd / 'mlruns' / 'mlflow.db'}")
    if not (cwd / "mlruns" / "mlflow.db").exists():
        return client, []
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client, list(client.search_runs(experiments, order_by=["attributes.start_time ASC"]))


def history(client: mlflow.MlflowClient, run: Run) -> dict[str, list[tuple[int, float]]]:
    """Every metric that does not tell time or load, as (step, value) in its order."""
    timed = re.compile(r"time/|system/|train/images_per_second")
    names = [name for name in run.data.metrics if not timed.match(name)]
    return {name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)] for name in names}


def make_run(cwd: Path, *arguments: str, **more: str) -> Finished:
    done = python(RUN, *TINY, NAMED, *arguments, cwd=cwd, **more)
    assert done.returncode == 0, done.stderr
    client, runs = stored_runs(cwd)
    return Finished(cwd, done.stdout, done.stderr, runs[-1], client, frozenset(path.name for path in cwd.iterdir()))


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]
