"""A search as one plain process with PyTorch and Optuna: `python -m …sweep_torch <settings.json> <folder>`.

Each trial draws a learning rate, trains the U-Net on augmented crops, scores val after each epoch, keeps the best
weights in a file and scores test with them. Nothing else is stored but Optuna's study.
"""

import itertools
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import torch
from torch import nn

from tests.benchmarks.contenders.crops_torch import Crops, read
from tests.benchmarks.contenders.unet_torch import Unet

VOID = 255
Batch = tuple[torch.Tensor, list[np.ndarray]]  # images (batch, 3, height, width) uint8, and their masks


def batches_of(files: list[tuple[str, str]], batch: int, multiple: int) -> list[Batch]:
    """A split in memory; images of one size make a batch, padded by reflection."""
    pairs = sorted((read(*each) for each in files), key=lambda pair: pair[0].shape)
    found = []
    for shape, same in itertools.groupby(pairs, key=lambda pair: pair[0].shape):
        images, masks = zip(*same, strict=True)
        around = [(0, -side % multiple) for side in shape[:2]]
        padded = np.stack([np.pad(image, [*around, (0, 0)], "reflect") for image in images])
        pixels = torch.from_numpy(padded).permute(0, 3, 1, 2)
        found += [(pixels[at : at + batch], list(masks[at : at + batch])) for at in range(0, len(masks), batch)]
    return found


@torch.no_grad()
def mean_iou(network: nn.Module, split: list[Batch], classes: int, half: bool) -> float:
    """Of a split's confusion matrix."""
    network.eval()
    matrix = np.zeros((classes, classes), np.int64)
    for images, masks in split:
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(images.float() / 127.5 - 1)
        for prediction, mask in zip(logits.argmax(1).numpy(), masks, strict=True):
            height, width = mask.shape
            valid = mask != VOID
            pairs = mask[valid].astype(np.int64) * classes + prediction[:height, :width][valid]
            matrix += np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    union = matrix.sum(0) + matrix.sum(1) - matrix.diagonal()
    return float((matrix.diagonal()[union > 0] / union[union > 0]).mean())


def main() -> None:
    wanted: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    folder, classes, half = Path(sys.argv[2]), wanted["classes"], wanted["precision"] != "float32"
    torch.set_num_threads(wanted["threads"])
    val, test = (
        batches_of(list(zip(*wanted[split], strict=True)), wanted["batch"], 2 ** wanted["depth"])
        for split in ("val", "test")
    )
    images, masks = wanted["train"]
    # One loader for all trials, so that its workers start once.
    loader = torch.utils.data.DataLoader(
        Crops({**wanted, "images": images, "masks": masks, "memory": True}), wanted["batch"], shuffle=True,
        drop_last=True, num_workers=wanted["workers"], persistent_workers=wanted["workers"] > 0,
    )  # fmt: skip
    loss_of = nn.CrossEntropyLoss(ignore_index=VOID)

    def objective(trial: optuna.Trial) -> float:
        rate = trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True)
        torch.manual_seed(0)
        network = Unet(wanted["depth"], wanted["width"], classes).to(memory_format=torch.channels_last)
        optimizer = torch.optim.Adam(network.parameters(), rate)
        warmup, steps = len(loader) / 2, wanted["epochs"] * len(loader)

        def factor(step: int) -> float:
            if step < warmup:
                return (step + 1) / warmup
            return 0.5 * (1 + math.cos(math.pi * (step - warmup) / (steps - warmup)))

        schedule, best = torch.optim.lr_scheduler.LambdaLR(optimizer, factor), -1.0
        for _ in range(wanted["epochs"]):
            network.train()
            for crops, masks in loader:
                optimizer.zero_grad()
                pixels = crops.permute(0, 3, 1, 2)  # its memory is channels_last already
                with torch.autocast("cpu", torch.bfloat16, enabled=half):
                    logits = network(pixels.float() / 127.5 - 1)
                loss = loss_of(logits.float(), masks.long())
                loss.backward()
                optimizer.step()
                schedule.step()
                loss.item()  # a training loop looks at it
            if (score := mean_iou(network, val, classes, half)) > best:
                best = score
                torch.save(network.state_dict(), folder / f"best-{trial.number}.pt")
        network.load_state_dict(torch.load(folder / f"best-{trial.number}.pt"))
        trial.set_user_attr("test", mean_iou(network, test, classes, half))
        return best

    study = optuna.create_study(
        storage=f"sqlite:///{folder}/optuna.db", sampler=optuna.samplers.TPESampler(seed=0), direction="maximize"
    )
    study.optimize(objective, n_trials=wanted["trials"])
    print(json.dumps({"best": study.best_value, "test": study.best_trial.user_attrs["test"]}))


if __name__ == "__main__":
    main()
