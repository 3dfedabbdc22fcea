"""The costs of a sweep besides training: start-up, memory, and the speed-up of several jobs at once.

`python -m tests.benchmarks.sweep_costs` measures all three; with `startup`, `memory` or `speed` as arguments, only
those.
"""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from statistics import mean

import psutil

from tests.benchmarks.machine import described, first_step, run
from tests.conftest import write_voc
from tests.end_to_end.commands import RUN, environment, stored_runs

DATA = (
    "dataset=folder",
    "dataset.root=../VOC",
    "dataset.classes=[ground,a,b]",
    "dataset.splits.val=val",
    "dataset.splits.test=test",
)
# One epoch of one step: the end of the epoch is the end of the first step.
STEP = (*DATA, "image_size=64", "epochs=1", "schedule.warmup_epochs=0", "batch_size=4")
TINY = (*DATA, "image_size=16", "epochs=2", "batch_size=2", "model.depth=1", "model.width=4")
SMALL = ("image_size=32", "long_side=32", "model.depth=3", "model.width=8", "epochs=2", "batch_size=16")
TRIALS = 20  # whose memory is measured; one more is run
MEMORY = {
    "the same network": ("seed=range(21)",),
    "21 networks": ("model.width=4,5,6,7,8,9,10", "model.depth=1,2,3"),
    "the same network, a search with a pruner": (
        "sweep=optuna", "hydra.sweeper.n_trials=21", "sweep.pruner=median",
        "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))",
    ),
}  # fmt: skip
SPEED = {
    "basic launcher, threads=auto": (),
    "joblib, 2 jobs, threads=auto": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2"),
    "joblib, 2 jobs, threads=2": ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "threads=2"),
}


def startup(folder: Path) -> list[str]:
    """Seconds to the first training step, of runs alone and of trials, and to the end of trials of one step."""
    alone = []
    for _ in range(2):
        began = time.time()
        run(folder / "alone", *STEP)
        client, runs = stored_runs(folder / "alone")
        alone.append(first_step(client, runs[-1]) - began)
    began = time.time()
    run(folder / "sweep", "-m", *STEP, "model.width=16,12", "seed=0,1,2")
    client, runs = stored_runs(folder / "sweep")
    trials = [each for each in runs if "trial" in each.data.tags]
    ends = [began, *(each.info.end_time / 1000 for each in trials)]
    rows: dict[str, tuple[float, float | None]] = {
        "run.py alone, in a new folder": (alone[0], None),
        "run.py alone, again": (alone[1], None),
    }
    for number, (each, before, end) in enumerate(zip(trials, ends, ends[1:], strict=False), 1):
        network = {1: "from the command, in a new folder", 4: "with another network"}.get(number, "the same network")
        rows[f"trial {number}, {network}"] = first_step(client, each) - before, end - before
    title = "seconds from the command, or from the end of the last trial (default network, 1 step, 4 images of 64 px)"
    heading = f"  {'':45}{'to the first step':>20}{'to the end':>12}"
    return [title, heading, *(
        f"  {name:45}{first:20.1f}" + (f"{whole:12.1f}" if whole is not None else "")
        for name, (first, whole) in rows.items()
    )]  # fmt: skip


def memory(folder: Path) -> Iterator[str]:
    """Resident memory of the warm child after each trial."""
    yield (f"{'resident MB of the warm child after trial':45}" + "".join(f"{n:>7}" for n in (1, 5, 10, 15, TRIALS)))
    for name, options in MEMORY.items():
        sizes = _sizes(folder / re.sub(r"\W+", "-", name), ["-m", *TINY, "threads=1", *options])
        # Means of four: the allocator returns some 40 MB after every other trial.
        growth = (mean(sizes[TRIALS - 4 : TRIALS]) - mean(sizes[4:8])) / (TRIALS - 8)
        shown = "".join(f"{sizes[number - 1]:7.0f}" for number in (1, 5, 10, 15, TRIALS))
        yield f"  {name:43}{shown}   {growth:+.2f} MB a trial, 5-8 to 17-20"
        yield "    each: " + " ".join(f"{size:.0f}" for size in sizes)


def _sizes(folder: Path, arguments: list[str]) -> list[float]:
    """MB of the child when the next trial is announced: the last one has ended then, and its memory is released."""
    folder.mkdir()
    sizes: list[float] = []
    with (folder / "output.txt").open("w") as output, subprocess.Popen(
        [sys.executable, RUN, *arguments], cwd=folder, env=environment(PYTHONUNBUFFERED="1"),
        text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        for line in process.stdout:
            output.write(line)
            if re.match(r"trial ([2-9]|\d\d+)/", line):
                children = psutil.Process(process.pid).children()
                (worker,) = (child for child in children if "pipeline.sweep.worker" in child.cmdline())
                sizes.append(worker.memory_info().rss / 1e6)
    if process.returncode or len(sizes) < TRIALS:
        raise RuntimeError(f"{len(sizes) + 1} trials, status {process.returncode}: see {folder / 'output.txt'}")
    return sizes


def speed(folder: Path) -> Iterator[str]:
    """Wall time of eight trials on `shapes`, from the command to its end."""
    data = f"data_dir={folder / 'data'}"
    run(folder / "first", *SMALL, data)  # generates and checks the images
    yield "seconds for 8 trials on shapes (" + " ".join(SMALL) + ")"
    basic = 0.0
    for name, options in SPEED.items():
        began = time.perf_counter()
        run(folder / re.sub(r"\W+", "-", name), "-m", *SMALL, data, *options, "seed=range(8)")
        took = time.perf_counter() - began
        basic = basic or took
        yield f"  {name:45}{took:7.1f}   speed-up {basic / took:.2f}"


def main() -> None:
    """Measure what the arguments name, and print it."""
    parts: dict[str, Callable[[Path], Iterable[str]]] = {"startup": startup, "memory": memory, "speed": speed}
    folder = Path(tempfile.mkdtemp(prefix="sweep-costs-"))
    write_voc(folder, train=4, val=2, test=2)
    for name in sys.argv[1:] or list(parts):
        print(described())
        (folder / name).mkdir()
        if name != "speed":
            (folder / name / "VOC").symlink_to(folder / "VOC")
        for line in parts[name](folder / name):  # as soon as it is measured
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
