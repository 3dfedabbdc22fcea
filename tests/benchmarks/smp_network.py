"""A network of segmentation_models.pytorch, trained and applied with PyTorch alone, as its users do it.

`against_smp` runs it in another environment: `python smp_network.py <settings.json>` trains on the files that the
settings name, and writes a mask for each image to be scored.
"""

import itertools
import json
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image, ImageEnhance
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

VOID, MEAN, DEVIATION = 255, 127.0, 128.0
WIDTHS = {"Unet": {"decoder_channels": (256, 128, 64, 32, 16)}}  # as ours; other networks have their own defaults
MULTIPLE = 32
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


ENHANCED = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
}


def scaled(image: Image.Image, long_side: int, resample: int) -> Image.Image:
    factor = long_side / max(image.size)
    return image.resize([max(1, round(side * factor)) for side in image.size], resample)


class Pairs(torch.utils.data.Dataset):
    """Random scale, crop, flip and colour, from images held in memory at working scale."""

    def __init__(self, settings: dict) -> None:
        self.crop, self.augment = settings["image_size"], settings["augment"]
        self.pairs = []
        for files in settings["train"]:
            image, mask = (Image.open(file) for file in files)
            side = settings["long_side"]
            self.pairs.append((scaled(image.convert("RGB"), side, Image.BILINEAR), scaled(mask, side, Image.NEAREST)))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        image, mask = self.pairs[index]
        zoom = math.exp(rng.uniform(*map(math.log, self.augment["scale"])))
        size = [max(1, round(side * zoom)) for side in image.size]
        image, mask = image.resize(size, Image.BILINEAR), mask.resize(size, Image.NEAREST)
        room = [side - self.crop for side in size]
        left, top = (int(np.sign(side) * rng.integers(0, abs(side) + 1)) for side in room)
        outside = Image.new("RGB", (self.crop,) * 2, (124,) * 3)
        void = Image.new("L", (self.crop,) * 2, VOID)
        outside.paste(image, (-left, -top))
        void.paste(Image.fromarray(np.asarray(mask)), (-left, -top))
        for name, enhance in ENHANCED.items():
            outside = enhance(outside).enhance(1 + rng.uniform(-1, 1) * self.augment[name])
        if self.augment["hue"]:
            hue, *others = outside.convert("HSV").split()
            turn = round(255 * rng.uniform(-1, 1) * self.augment["hue"])
            outside = Image.merge("HSV", (hue.point([(value + turn) % 256 for value in range(256)]), *others))
            outside = outside.convert("RGB")
        pixels, labels = np.asarray(outside, np.float32), np.asarray(void, np.int64)
        if self.augment["flip"] and rng.random() < 0.5:
            pixels, labels = pixels[:, ::-1], labels[:, ::-1]
        return torch.from_numpy((pixels.transpose(2, 0, 1) - MEAN) / DEVIATION), torch.from_numpy(labels.copy())


def build(settings: dict) -> torch.nn.Module:
    """The network on timm's EfficientNet-Lite, with the encoder weights of a file, or random ones."""
    name, encoder, classes = settings["network"], f"tu-tf_{settings['encoder']}", settings["classes"]
    model = getattr(smp, name)(encoder, encoder_weights=None, classes=classes, **WIDTHS.get(name, {}))
    if settings["encoder_weights"]:
        given = torch.load(settings["encoder_weights"], weights_only=True)
        given = [(name, tensor) for name, tensor in given.items() if not name.startswith(("_conv_head", "_bn1", "_fc"))]
        own = list(model.encoder.state_dict().items())
        assert len(own) == len(given), (len(own), len(given))
        for (name, tensor), (other, values) in zip(own, given, strict=True):
            assert tensor.shape == values.shape or tensor.numel() == values.numel() == 1, (name, other)
            tensor.copy_(values.reshape(tensor.shape))
    model.encoder.requires_grad_(settings["encoder_rate"] > 0)
    if settings["encoder_norm"] == "frozen":
        for part in normalisations(model):
            part.requires_grad_(False)
    return model.to(DEVICE, memory_format=torch.channels_last)


def normalisations(model: torch.nn.Module) -> list[torch.nn.Module]:
    """Those of the encoder."""
    return [part for part in model.encoder.modules() if isinstance(part, torch.nn.BatchNorm2d)]


def batches(settings: dict) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Without end, pass after pass in another order; all images at once if there are fewer than a batch has."""
    pairs = Pairs(settings)
    batch = min(settings["batch_size"], len(pairs))
    loader = torch.utils.data.DataLoader(pairs, batch, shuffle=True, drop_last=True)
    return itertools.chain.from_iterable(itertools.repeat(loader))


def train(model: torch.nn.Module, settings: dict) -> torch.nn.Module:
    """Train it in place; returns the network to apply, which has the average of its weights if the settings say so."""
    steps, warmup, rate_of = settings["steps"], settings["warmup_steps"], settings["learning_rate"]
    encoder = [parameter for parameter in model.encoder.parameters() if parameter.requires_grad]
    others = [parameter for name, parameter in model.named_parameters() if not name.startswith("encoder.")]
    groups = [{"params": others, "lr": rate_of}, {"params": encoder, "lr": rate_of * settings["encoder_rate"]}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=settings["weight_decay"])
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / max(1, warmup))
        * 0.5 * (1 + math.cos(math.pi * max(0, step - warmup) / max(1, steps - warmup))),
    )  # fmt: skip
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=VOID)
    dice_of_all = smp.losses.DiceLoss("multiclass", ignore_index=VOID)  # a class without true pixels counts 0
    averaged = settings["ema"] and AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(settings["ema"]))
    model.train()
    if not encoder or settings["encoder_norm"] == "frozen":
        for part in normalisations(model):
            part.eval()  # which keeps its statistics
    began, total, every = time.perf_counter(), 0.0, max(1, steps // 10)
    for step, (images, masks) in enumerate(itertools.islice(batches(settings), steps), start=1):
        optimizer.zero_grad()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=settings["half"]):
            logits = model(images.to(DEVICE, memory_format=torch.channels_last))
        masks = masks.to(DEVICE)
        present = masks[masks != VOID].unique().numel()  # our Dice loss is the mean over the classes of the batch
        dice = dice_of_all(logits.float(), masks) * settings["classes"] / max(1, present)
        loss = cross_entropy(logits.float(), masks) + settings["dice"] * dice
        loss.backward()
        optimizer.step()
        if averaged:
            averaged.update_parameters(model)
        rate.step()
        total += loss.item()
        if step % every == 0 or step == steps:
            seconds = time.perf_counter() - began
            rates = step * len(images) / seconds
            print(f"step {step}/{steps}  mean loss {total / step:.4f}  {rates:.1f} images/s", flush=True)
    return averaged.module if averaged else model


@torch.no_grad()
def predict(model: torch.nn.Module, settings: dict) -> None:
    """Masks at the images' own sizes: reflect-padded, logits resized bilinearly, then argmax."""
    model.eval()
    output = Path(settings["output"])
    output.mkdir(parents=True, exist_ok=True)
    for example_id, file in settings["score"]:
        image = Image.open(file).convert("RGB")
        pixels = np.asarray(scaled(image, settings["long_side"], Image.BILINEAR), np.float32)
        height, width = pixels.shape[:2]
        padded = np.pad(pixels, ((0, -height % MULTIPLE), (0, -width % MULTIPLE), (0, 0)), "reflect")
        with torch.autocast(DEVICE, torch.bfloat16, enabled=settings["half"]):
            logits = model(torch.from_numpy((padded.transpose(2, 0, 1)[None] - MEAN) / DEVIATION).to(DEVICE)).float()
        logits = logits[..., :height, :width]
        logits = torch.nn.functional.interpolate(logits, image.size[::-1], mode="bilinear", align_corners=False)
        Image.fromarray(logits[0].argmax(0).cpu().numpy().astype(np.uint8)).save(output / f"{example_id}.png")


if __name__ == "__main__":
    chosen = json.loads(Path(sys.argv[1]).read_text())
    torch.manual_seed(chosen["seed"])
    torch.set_num_threads(chosen["threads"])
    network = build(chosen)
    print(f"{sum(parameter.numel() for parameter in network.parameters()):,} parameters", flush=True)
    predict(train(network, chosen), chosen)
