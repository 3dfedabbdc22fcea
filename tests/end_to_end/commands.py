"""The real command line, started in a folder of its own, and what it left there."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.entities import Run

from pipeline.runtime.files import ROOT
from tests.end_to_end.forks import Ended, environment, fork_server

RUN = str(ROOT / "run.py")
PRINTED = "printed.json"
CLASSES = ["background", "potted plant", "a/b", "a?b", "Büsche"]
# A network and an epoch that take no time: what is left is starting Python and compiling.
TINY = (
    "image_size=16", "model.depth=2", "model.width=4", "epochs=2", "batch_size=2", "threads=2", "precision=float32",
    "dataset=folder", "dataset.root=VOC", "dataset.splits.val=val", "dataset.splits.test=test",
)  # fmt: skip
NAMED = "dataset.classes=[" + ",".join(f'"{name}"' for name in CLASSES) + "]"


def tiny(**changes: str) -> list[str]:
    """Those options with a smaller network, one thread (a second costs more than it computes), and some changed.

    A dot in a key is written as two underscores.
    """
    options = dict(option.split("=", 1) for option in (*TINY, NAMED, "model.depth=1", "threads=1"))
    options |= {key.replace("__", "."): value for key, value in changes.items()}
    return [f"{key}={value}" for key, value in options.items()]


# Several commands in one process, each as if it were a program: importing TensorFlow is what takes the time.
SEVERAL = """
import contextlib, io, json, logging, os, runpy, sys
logging.getLogger("tensorflow").setLevel(logging.ERROR)  # each run traces its own graphs, which TensorFlow warns of
for number, command in enumerate(json.loads(sys.stdin.read())):
    sys.argv = command
    reported, status = [io.TextIOWrapper(io.BytesIO(), "utf-8") for _ in range(2)], 0
    with contextlib.redirect_stdout(reported[0]), contextlib.redirect_stderr(reported[1]):
        try:
            if command[0].endswith(".py"):
                runpy.run_path(command[0], run_name="__main__")
            else:
                runpy.run_module(command[0], run_name="__main__", alter_sys=False)
        except SystemExit as end:
            status = end.code
        [stream.flush() for stream in reported]
    print("\\x1e" + json.dumps([status, *(stream.buffer.getvalue().decode() for stream in reported)]), flush=True)
"""


# A program, as `-c` with it and its arguments, whose stdout has lost its reader and whose stderr is on a full disk.
UNSEEN = """
import os, runpy, sys
reading, writing = os.pipe()
os.close(reading)
os.dup2(writing, 1)
os.dup2(os.open("/dev/full", os.O_WRONLY), 2)
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def python(*arguments: str, cwd: Path, stdin: str = "", **more: str) -> Ended:
    """Python with these arguments, to its end; `more` is set in its environment."""
    return fork_server().run(cwd, *arguments, stdin=stdin, **more)


def fresh_python(*arguments: str, cwd: Path, **more: str) -> Ended:
    """The same in a process that has imported nothing."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=environment(**more), capture_output=True, text=True, check=False
    )
    return Ended(done.returncode, done.stdout, done.stderr)


def several(commands: list[list[str]], cwd: Path, **more: str) -> list[Ended]:
    """Programs (`[file or module, argument, …]`) one after the other in one process; `more` is set for it."""
    done = python("-c", SEVERAL, cwd=cwd, stdin=json.dumps(commands), **more)
    ended = [Ended(*json.loads(line)) for line in re.findall(r"(?<=\x1e).*", done.stdout)]
    assert len(ended) == len(commands), done
    assert done.stderr == "", done.stderr
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
    """Every metric of training that does not tell time or load, as (step, value) in its order.

    Not those of exported files, which another test may log to the same run at any time.
    """
    others = re.compile(r"time/|system/|export/|train/images_per_second")
    names = [name for name in run.data.metrics if not others.match(name)]
    return {name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)] for name in names}


def make_run(cwd: Path, *arguments: str, **more: str) -> None:
    """A run for `finished_run`, on the dataset in a folder."""
    done = python(RUN, *TINY, NAMED, *arguments, cwd=cwd, **more)
    assert done.status == 0, done.stderr
    left = [path.name for path in cwd.iterdir()]
    (cwd / PRINTED).write_text(json.dumps([done.stdout, done.stderr, left]))


def finished_run(cwd: Path) -> Finished:
    """The run that `make_run` made in a folder."""
    stdout, stderr, left = json.loads((cwd / PRINTED).read_text())
    client, runs = stored_runs(cwd)
    return Finished(cwd, stdout, stderr, runs[0], client, frozenset(left))


def furnish(cwd: Path, data: Path) -> Path:
    """Give a folder the dataset of another, and a copy of its store: an empty one takes seconds to make."""
    (cwd / "VOC").symlink_to(data / "VOC")
    (cwd / "mlruns").mkdir()
    shutil.copy(data / "mlruns/mlflow.db", cwd / "mlruns")
    return cwd


def lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]
