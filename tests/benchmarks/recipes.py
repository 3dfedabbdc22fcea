"""`experiment=few_images` on four kinds of data, next to a U-Net from scratch and `voc_small`: test mIoU and minutes.

`python -m tests.benchmarks.recipes <VOC folder> <folder> [seeds=0,1] [data=…,…] [only=…,…] [key=value …]` trains all of
them and prints a table; started again in the same folder it continues. The data are PASCAL VOC, `shapes`, and the
two of `tests.benchmarks.standins`.
"""

import sys
import time
from pathlib import Path
from statistics import mean, stdev

from tests.benchmarks.machine import described, run
from tests.benchmarks.standins import write_standins
from tests.end_to_end.commands import stored_runs

RECIPES = {
    "few_images": ("experiment=few_images",),
    "voc_small": ("experiment=voc_small",),
    # As many crops of the same sizes as few_images, in the default network.
    "unet from scratch": (
        "model=unet", "optimizer=adamw", "loss=cross_entropy_dice", "optimizer.learning_rate=2e-3", "image_size=320",
        "long_side=448", "steps=600", "epochs=10",
    ),
}  # fmt: skip
# For data without an up.
MORE = {("few_images", "microscopy"): ("augment=any_orientation",)}


def scored(folder: Path, options: tuple[str, ...]) -> tuple[float, float, float]:
    """Test mIoU, boundary IoU and minutes of the run in a folder."""
    if not (folder / "seconds").exists():
        began = time.perf_counter()
        run(folder, *options, "evaluate.log_images=0")
        (folder / "seconds").write_text(str(time.perf_counter() - began))
    finished = [each for each in stored_runs(folder)[1] if each.info.status == "FINISHED"][-1]
    metrics, seconds = finished.data.metrics, float((folder / "seconds").read_text())
    return metrics["test/mean_iou"], metrics["test/boundary_iou"], seconds / 60


def main() -> None:
    voc, place = (Path(argument).absolute() for argument in sys.argv[1:3])
    given = dict(argument.split("=", 1) for argument in sys.argv[3:])
    own = {key: given.pop(key) for key in ("seeds", "data", "only") if key in given}
    more, standins = tuple(f"{key}={value}" for key, value in given.items()), write_standins(place)
    data = {
        "voc": ("dataset=voc2012", f"dataset.root={voc}"),
        "shapes": ("dataset=shapes", f"data_dir={place / 'data'}"),
        **{
            name: ("dataset=folder", f"dataset.root={root}", "dataset.splits.test=test")
            for name, root in standins.items()
        },
    }
    seeds, rows = own.get("seeds", "0,1").split(","), []
    print(described(), flush=True)
    for name in own.get("data", ",".join(data)).split(","):
        for recipe in own.get("only", ",".join(RECIPES)).split(","):
            options = (*RECIPES[recipe], *data[name], *MORE.get((recipe, name), ()), *more)
            folder = place / f"{name}-{recipe.replace(' ', '-')}"
            found = [scored(folder / seed, (*options, f"seed={seed}")) for seed in seeds]
            scores, boundaries, minutes = zip(*found, strict=True)
            spread = f" ± {stdev(scores):.4f}" if len(scores) > 1 else ""
            rows.append(f"{name:12}{recipe:20}{mean(scores):8.4f}{spread}  {mean(boundaries):8.4f}{mean(minutes):8.1f}")
            print(rows[-1], file=sys.stderr, flush=True)
    print(f"{'data':12}{'recipe':20}{'test mIoU':>8}  boundary IoU  minutes\n" + "\n".join(rows))


if __name__ == "__main__":
    main()
