"""A search of eight trials by this project, and as one plain process with PyTorch and Optuna: seconds in turn.

`python -m tests.benchmarks.sweep_against_torch <folder> <python with torch, optuna, albumentations> [rounds=3]` has
both train the default U-Net on `shapes`, with the same splits, epochs and range of learning rates. The seconds are
those of the whole commands. This project stores each trial in MLflow, with a model, checkpoints and images; the other
stores weights and the study.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from pipeline.config.overrides import checked_config
from pipeline.data.synthetic.shapes import make_shapes
from pipeline.data.voc import find_examples
from pipeline.runtime.hardware import resolve_auto
from tests.benchmarks.machine import described, run
from tests.end_to_end.commands import ROOT, environment, stored_runs

TRIALS, EPOCHS, WORKERS = 8, 4, (0, 2)  # workers of PyTorch's DataLoader
NETWORK = ("model.upsampling=transposed", f"epochs={EPOCHS}")
SEARCH = (
    "-m", "sweep=optuna", f"hydra.sweeper.n_trials={TRIALS}", "optimizer.learning_rate=tag(log,interval(1e-4,1e-2))",
)  # fmt: skip


def ours(folder: Path, data: Path) -> tuple[float, float]:
    """Seconds, and the best validation mIoU."""
    began = time.perf_counter()
    run(folder, *SEARCH, *NETWORK, f"data_dir={data}")
    seconds = time.perf_counter() - began
    scores = [each.data.metrics["best/val_mean_iou"] for each in stored_runs(folder)[1] if "trial" in each.data.tags]
    assert len(scores) == TRIALS, scores
    return seconds, max(scores)


def torch(folder: Path, data: Path, python: str, workers: int) -> tuple[float, float]:
    """The same of the plain process."""
    config = resolve_auto(checked_config([*NETWORK, f"data_dir={data}"]))
    splits, faults = find_examples(data / "shapes", config.dataset)
    assert not faults, faults
    files = {
        name: ([str(example.image) for example in split], [str(example.mask) for example in split])
        for name, split in splits.items()
    }
    settings = {
        **files, "classes": len(config.dataset.classes), "depth": config.model.depth, "width": config.model.width,
        "batch": config.batch_size, "epochs": EPOCHS, "trials": TRIALS, "crop": config.image_size,
        "scale": config.augment.scale, "threads": config.threads, "precision": config.precision, "workers": workers,
    }  # fmt: skip
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps(settings))
    began = time.perf_counter()
    done = subprocess.run(
        [python, "-m", "tests.benchmarks.contenders.sweep_torch", folder / "settings.json", folder],
        cwd=ROOT, env=environment(), text=True, stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return time.perf_counter() - began, json.loads(done.stdout.splitlines()[-1])["best"]


def main() -> None:
    place, python, *more = sys.argv[1:]
    folder, rounds = Path(place).absolute(), int(dict(each.split("=") for each in more).get("rounds", "3"))
    print(described(), flush=True)
    if not (folder / "data" / "shapes").exists():
        make_shapes(folder / "data" / "shapes")
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(rounds):
        here = folder / f"round-{number}"
        found.setdefault("this project", []).append(ours(here / "ours", folder / "data"))
        for workers in WORKERS:
            name = f"PyTorch and Optuna, {workers} workers"
            found.setdefault(name, []).append(torch(here / f"torch-{workers}", folder / "data", python, workers))
        print(
            f"round {number}: " + ", ".join(f"{name} {times[-1][0]:.1f} s" for name, times in found.items()), flush=True
        )
    first = [seconds for seconds, _ in found["this project"]]
    print(f"| {TRIALS} trials of {EPOCHS} epochs | s, median (least to most) | this / first | best val mIoU |")
    print("| --- | --- | --- | --- |")
    for name, results in found.items():
        seconds = [each for each, _ in results]
        ratio = median(one / other for one, other in zip(seconds, first, strict=True))
        best = ", ".join(sorted({f"{score:.3f}" for _, score in results}))
        print(f"| {name} | {median(seconds):.1f} ({min(seconds):.1f} to {max(seconds):.1f}) | {ratio:.2f} | {best} |")


if __name__ == "__main__":
    main()
