"""Seconds until a command answers, until the first training step, and what tracking takes of an epoch."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from mlflow import MlflowClient
from mlflow.entities import Run

from tests.benchmarks.machine import first_step, run
from tests.end_to_end.commands import RUN, environment, stored_runs

ANSWERS = {  # arguments, and the status that they end with
    "run.py --help": (("--help",), 0),
    "a configuration with three errors": (("epochs=-3", "model.widht=8", "optimizer=adm"), 2),
    "run.py --cfg job": (("--cfg", "job"), 0),
}


def startup(repeats: int) -> list[str]:
    """A table in Markdown."""
    lines = ["### Start-up and tracking", "", "| | median (least to most) |", "| --- | --- |"]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for name, (arguments, status) in ANSWERS.items():
            seconds = []
            for _ in range(repeats):
                began = time.perf_counter()
                command = [sys.executable, RUN, *arguments]
                done = subprocess.run(command, cwd=place, env=environment(), capture_output=True, text=True)
                seconds.append(time.perf_counter() - began)
                assert done.returncode == status, done.stderr
            lines.append(f"| {name} | {_spread(seconds)} s |")
        run(place, "epochs=1", "model.depth=1", "model.width=1")  # draws the images of the default job
        lists = place / "data" / "shapes" / "ImageSets" / "Segmentation"
        eight = (lists / "train.txt").read_text().splitlines()[:8]
        (lists / "eight.txt").write_text("".join(f"{example_id}\n" for example_id in eight))
        one_step = ("dataset.splits.train=eight", "epochs=1", "schedule.warmup_epochs=0")
        steps, shares = [], []
        for _ in range(min(repeats, 3)):
            began = time.time()
            run(place, *one_step)
            steps.append(first_step(*_newest(place)) - began)
            run(place, "epochs=2")
            metrics = _newest(place)[1].data.metrics
            epoch = metrics["time/train_seconds"] + metrics["time/validation_seconds"]
            shares.append(100 * metrics["time/tracking_seconds"] / epoch)
        lines.append(f"| the default job, command to first training step | {_spread(steps)} s |")
        lines.append(f"| tracking of an epoch of the default job, on the training thread | {_spread(shares)} % |")
    return [*lines, ""]


def _newest(place: Path) -> tuple[MlflowClient, Run]:
    client, runs = stored_runs(place)
    return client, max(runs, key=lambda each: each.info.start_time)


def _spread(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"
