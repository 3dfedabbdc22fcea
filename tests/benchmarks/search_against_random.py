"""Does the search find better networks than random search when both train for the same number of epochs?

`python -m tests.benchmarks.search_against_random <folder>` runs, for each of three seeds, random search, TPE with the
median pruner and TPE alone on `shapes`; started again in the same folder, it continues. Every trial has the same
network, so each epoch costs the same and the budget is a number of epochs. What a trial costs besides them is not part
of that budget, which favours pruning when trials are as short as here; so a second table has the best scores after
equal seconds of trials: those that the quickest sweep of a seed took in all.

`seed` seeds both the sampler and the training: another seed is another search over other networks. Two sweeps run at a
time, with one thread each.
"""

import math
import re
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from statistics import mean, stdev

from pipeline.data.synthetic.drawing import CLASSES
from pipeline.data.synthetic.shapes import make_shapes
from pipeline.runtime.console import plain_table
from tests.benchmarks.machine import described, run
from tests.end_to_end.commands import stored_runs

EPOCHS, BUDGET = 4, 96  # of a trial; of a sweep, 24 trials if none is pruned
SEEDS = (0, 1, 2)
SHOWN = (24, 48, 72, BUDGET)  # epochs spent
METHODS = {
    "random": ("sweep.sampler=random", "sweep.pruner=none"),
    "TPE, median pruner": ("sweep.sampler=tpe", "sweep.pruner=median"),
    "TPE": ("sweep.sampler=tpe", "sweep.pruner=none"),
}
IMAGES = 100  # of the training split
TRIAL = (
    "dataset=folder", "dataset.splits.train=few", "dataset.splits.val=val", "dataset.splits.test=null",
    f"dataset.classes=[{','.join(CLASSES)}]", "image_size=32", "long_side=32", "batch_size=4", "threads=1",
    f"epochs={EPOCHS}", "model.depth=1", "model.width=8", "optimizer=adamw", "augment=none",
    "evaluate.overlays=0", "evaluate.val_predictions=0",
)  # fmt: skip
SPACE = (
    "optimizer.learning_rate=tag(log,interval(1e-4,1e-1))", "optimizer.weight_decay=tag(log,interval(1e-5,1e-1))",
    "loss.dice=0,1", "model.dropout=interval(0.0,0.5)", "schedule.warmup_epochs=interval(0.0,2.0)",
)  # fmt: skip

Scores = list[list[float]]  # [trial in its order][epoch]: validation mean IoU


@dataclass(frozen=True)
class Trials:
    """The trials of a sweep in their order."""

    scores: Scores
    seconds: list[list[float]]  # [trial][epoch]: of all trials until this score was known
    whole: float  # seconds of all trials


def stored_trials(folder: Path) -> Trials:
    """Those of the sweep in a folder, from MLflow."""
    found = Trials([], [], 0.0)
    if not (folder / "mlruns" / "mlflow.db").exists():
        return found
    client, runs = stored_runs(folder)
    for trial in (each for each in runs if "trial" in each.data.tags):
        metrics = sorted(client.get_metric_history(trial.info.run_id, "val/mean_iou"), key=_step)
        found.scores.append([metric.value for metric in metrics])
        since = [(metric.timestamp - trial.info.start_time) / 1000 for metric in metrics]
        found.seconds.append([found.whole + each for each in since])
        found = replace(found, whole=found.whole + (trial.info.end_time - trial.info.start_time) / 1000)
    return found


def best_so_far(scores: Scores) -> list[float]:
    """The best score after 1, 2, … epochs of training, whichever trial they were spent on."""
    return list(accumulate((score for trial in scores for score in trial), max))


def search(folder: Path, method: str, seed: int) -> Scores:
    """Run a sweep until it has spent the budget; what pruned trials leave of it is spent on further trials."""
    scores = stored_trials(folder).scores
    while (spent := sum(map(len, scores))) < BUDGET:
        each = spent / len(scores) if scores else EPOCHS
        wanted = len(scores) + math.ceil((BUDGET - spent) / each)
        run(
            folder, "-m", "sweep=optuna", "sweep.name=search", f"hydra.sweeper.n_trials={wanted}", f"seed={seed}",
            f"dataset.root={folder.parent / 'shapes'}", *METHODS[method], *TRIAL, *SPACE,
        )  # fmt: skip
        scores = stored_trials(folder).scores
        print(f"{method}, seed {seed}: {len(scores)} trials, {sum(map(len, scores))} epochs", file=sys.stderr)
    return scores


def mean_and_deviation(values: list[float]) -> str:
    """Mean ± deviation over seeds."""
    return f"{mean(values):.4f} ± {stdev(values):.4f}" if len(values) > 1 else f"{mean(values):.4f}"


def table(found: dict[tuple[str, int], Scores], seconds: dict[tuple[str, int], float]) -> str:
    """The best scores after so many epochs: a line for each sweep, and one for each method."""
    curves = {key: best_so_far(scores) for key, scores in found.items()}
    rows = []
    for (method, seed), curve in curves.items():
        spent_before = [0, *accumulate(map(len, found[method, seed]))][:-1]  # epochs before each trial
        trials = sum(spent < BUDGET for spent in spent_before)
        scores = [f"{curve[count - 1]:.4f}" for count in SHOWN]
        rows.append([f"{method}, seed {seed}", *scores, str(trials), f"{seconds[method, seed]:.0f}"])
    for method in METHODS:
        of_method = [curve for (name, _), curve in curves.items() if name == method]
        if of_method:
            means = [mean_and_deviation([curve[count - 1] for curve in of_method]) for count in SHOWN]
            rows.append([f"{method}, mean ± deviation", *means, "", ""])
    headings = ["best val mIoU after", *(f"{count} epochs" for count in SHOWN), "trials", "s"]
    return plain_table(headings, rows, right=headings[1:])


def after_equal_seconds(found: dict[tuple[str, int], Trials]) -> str:
    """The best score of each method when the quickest sweep of the seed had ended: a column for each seed."""
    seeds = sorted({seed for _, seed in found})
    budgets = {seed: min(trials.whole for (_, each), trials in found.items() if each == seed) for seed in seeds}
    rows = []
    for method in METHODS:
        best = [
            max(
                score
                for scores, seconds in zip(trials.scores, trials.seconds, strict=True)
                for score, after in zip(scores, seconds, strict=True)
                if after <= budgets[seed]
            )
            for seed in seeds
            if (trials := found.get((method, seed)))
        ]
        if len(best) == len(seeds):
            rows.append([method, *(f"{score:.4f}" for score in best), mean_and_deviation(best)])
    headings = [f"seed {seed}, {budgets[seed]:.0f} s" for seed in seeds] + ["mean ± deviation"]
    return plain_table(["best val mIoU after", *headings], rows, right=headings)


def verdicts(found: dict[tuple[str, int], Scores]) -> list[str]:
    """How each method compares with random search, a line each."""
    curves = {key: best_so_far(scores) for key, scores in found.items()}
    lines = []
    for method in list(METHODS)[1:]:
        pairs = [(curves[method, s], curves["random", s]) for s in SEEDS if {(method, s), ("random", s)} <= set(curves)]
        if not pairs:
            continue
        gains = [ours[BUDGET - 1] - random[BUDGET - 1] for ours, random in pairs]
        sooner = [_first(ours, random[BUDGET - 1]) for ours, random in pairs]
        reached = ", ".join("never" if count is None else str(count) for count in sooner)
        lines.append(
            f"{method} against random at {BUDGET} epochs: {mean_and_deviation(gains)}, "
            f"better in {sum(gain > 0 for gain in gains)} of {len(gains)} seeds; "
            f"exceeds random's final best after {reached} epochs"
        )
    return lines


def _first(curve: list[float], level: float) -> int | None:
    return next((count for count, best in enumerate(curve[:BUDGET], 1) if best > level), None)


def _step(metric: object) -> int:
    return int(metric.step)  # type: ignore[attr-defined]


def main() -> None:
    """Run every sweep, two at a time, and print the results of those that are complete."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="search-")).absolute()
    machine = described()
    # The most important comparison first.
    keys = [(method, seed) for seed in SEEDS for method in list(METHODS)[:2]] + [("TPE", seed) for seed in SEEDS]
    places = {key: folder / f"{re.sub('[^A-Za-z]+', '-', key[0])}-{key[1]}" for key in keys}
    if "report" not in sys.argv[2:]:
        make_shapes(folder / "shapes")
        lists = folder / "shapes" / "ImageSets" / "Segmentation"
        names = (lists / "train.txt").read_text().split()[:IMAGES]
        (lists / "few.txt").write_text("".join(f"{name}\n" for name in names))
        with ThreadPoolExecutor(2) as two:
            list(two.map(lambda key: search(places[key], *key), keys))
    stored = {key: stored_trials(place) for key, place in places.items()}
    found = {key: trials.scores for key, trials in stored.items() if sum(map(len, trials.scores)) >= BUDGET}
    print(machine)
    print(f"shapes, the first {IMAGES} training images: {' '.join(TRIAL)}")
    print(f"searched: {' '.join(SPACE)}\n")
    complete = {key: stored[key] for key in found}
    print(table(found, {key: trials.whole for key, trials in complete.items()}), "", *verdicts(found), sep="\n")
    print("", after_equal_seconds(complete), sep="\n")


if __name__ == "__main__":
    main()
