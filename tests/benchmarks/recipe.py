"""What each ingredient of the recipe for small real data brings alone: validation mIoU over seeds, and time.

`python -m tests.benchmarks.recipe <VOC folder> <folder> [seeds=0,1] [only=name,name] [report] [key=value …]` trains
`experiment=voc_small` with a fifth of train held out, and again with one thing changed, and prints the table; started
again in the same folder it continues. The official val list is not looked at. Time is that of all threads on the
processor: seconds on a clock say more of what else the machine did.
"""

import os
import sys
from pathlib import Path
from statistics import mean, stdev

from tests.benchmarks.machine import described, run
from tests.end_to_end.commands import python, stored_runs

BASE = (
    "experiment=voc_small", "dataset.val_fraction=0.2", "dataset.splits.test=null", "evaluate.val_predictions=0",
)  # fmt: skip
TRAINED = {
    "base": (),
    "logits of the finest level only": ("model.logits=finest",),
    "rate 5e-3": ("optimizer.learning_rate=5e-3",),
    "rate 1e-3": ("optimizer.learning_rate=1e-3",),
    "encoder at the full rate": ("optimizer.encoder_rate=1",),
    "encoder at a fifth of the rate": ("optimizer.encoder_rate=0.2",),
    "the same and its statistics frozen": ("optimizer.encoder_rate=0.2", "model.encoder_norm=frozen"),
    "encoder at a twentieth of the rate": ("optimizer.encoder_rate=0.05",),
    "the same and its statistics frozen, too": ("optimizer.encoder_rate=0.05", "model.encoder_norm=frozen"),
    "cross-entropy alone": ("loss=cross_entropy",),
    "class weights in the cross-entropy": ("loss.class_weights=median_frequency",),
    "focal loss": ("loss=focal",),
    "balanced sampling": ("sampling=balanced",),
    "EMA of weights": ("optimizer.ema=0.99",),
    "wide range of scale": ("augment.scale=[0.5,2]",),
    "no colour jitter": ("augment.brightness=0", "augment.contrast=0", "augment.saturation=0", "augment.hue=0"),
    "CutMix": ("augment.cutmix=0.5",),
    "dropout": ("model.dropout=0.2",),
    "batches of 4": ("batch_size=4",),
    "from random weights": ("model.encoder_weights=null", "optimizer.encoder_rate=1"),
}
VIEWS = {  # of the base's runs
    "evaluation of the base": (),
    "flip at evaluation": ("evaluate.flip=true",),
    "three scales at evaluation": ("evaluate.scales=[0.75,1,1.25]",),
    "flip and scales at evaluation": ("evaluate.flip=true", "evaluate.scales=[0.75,1,1.25]"),
    "windows at evaluation": ("evaluate.window=128",),
}


def trained(folder: Path, root: Path, options: tuple[str, ...], more: list[str]) -> tuple[str, float, float]:
    """Id, best validation mIoU and processor seconds of the run in a folder."""
    if not (folder / "seconds").exists():
        before = _children_seconds()
        run(folder, f"dataset.root={root}", *BASE, *options, *more)
        (folder / "seconds").write_text(str(_children_seconds() - before))
    finished = [each for each in stored_runs(folder)[1] if each.info.status == "FINISHED"][-1]
    return finished.info.run_id, finished.data.metrics["best/val_mean_iou"], float((folder / "seconds").read_text())


def viewed(folder: Path, run_id: str, view: str) -> tuple[float, float]:
    """Validation mIoU of the stored run in a folder with another view, and processor seconds."""
    found = folder / f"{view}.txt"
    if not found.exists():
        before = _children_seconds()
        done = python("-m", "pipeline.evaluate", f"run={run_id}", "split=val", *VIEWS[view], cwd=folder)
        (row,) = (line for line in done.stdout.splitlines() if line.startswith("│ mean"))
        found.write_text(f"{row.split('│')[2]} {_children_seconds() - before}")
    score, seconds = map(float, found.read_text().split())
    return score, seconds


def _children_seconds() -> float:
    """Seconds that all threads of the processes that ended were on a processor."""
    times = os.times()
    return times.children_user + times.children_system


def main() -> None:
    root, place = (Path(argument).absolute() for argument in sys.argv[1:3])
    chosen = dict(argument.split("=", 1) for argument in sys.argv[3:] if argument.startswith(("seeds=", "only=")))
    more = [argument for argument in sys.argv[3:] if "=" in argument and not argument.startswith(("seeds=", "only="))]
    seeds = [int(seed) for seed in chosen.get("seeds", "0,1").split(",")]
    names = chosen["only"].split(",") if "only" in chosen else list(TRAINED)
    if unknown := [name for name in names if name not in TRAINED]:
        sys.exit(f"only={unknown[0]}: expected one of {', '.join(TRAINED)}")
    print(described(), flush=True)
    scores: dict[str, dict[int, tuple[float, float]]] = {}
    for seed in seeds:
        for name in names:
            folder = place / f"{name.replace(' ', '-')}-{seed}"
            if "report" in sys.argv and not folder.exists():
                continue
            run_id, score, seconds = trained(folder, root, TRAINED[name], [*more, f"seed={seed}"])
            scores.setdefault(name, {})[seed] = score, seconds
            print(f"seed {seed}  {name:36}{score:8.4f}{seconds:7.0f} s", file=sys.stderr, flush=True)
            if name == "base":
                for view in VIEWS:
                    scores.setdefault(view, {})[seed] = viewed(folder, run_id, view)
    print(f"{'':38}{'val mIoU':>17}{'against the base':>20}{'processor s':>13}")
    for name, found in scores.items():
        values, base = [score for score, _ in found.values()], scores.get("base", {})
        gains = [score - base[seed][0] for seed, (score, _) in found.items() if seed in base]
        spread = f"{mean(values):.4f}" + (f" ± {stdev(values):.4f}" if len(values) > 1 else "")
        gain = f"{mean(gains):+.4f}" + (f" ± {stdev(gains):.4f}" if len(gains) > 1 else "") if gains else ""
        print(f"  {name:36}{spread:>17}{gain:>20}{mean(seconds for _, seconds in found.values()):>13.0f}")


if __name__ == "__main__":
    main()
