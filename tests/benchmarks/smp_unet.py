"""`smp.Unet` trained and applied with PyTorch alone, as its users do it; `against_smp` runs it in another environment.

`python smp_unet.py <settings.json>` trains on the lists that the settings name, and writes a mask for each image.
"""

import json
import math
import sys
import time
from pathlib import Path

import numpy as np
import segmentation_models_pytorch as smp
import torch
from PIL import Image, ImageEnhance

VOID, MEAN, DEVIATION = 255, 127.0, 128.0
DECODER = (256, 128, 64, 32, 16)
MULTIPLE = 32
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def scaled(image: Image.Image, long_side: int, resample: int) -> Image.Image:
    factor = long_side / max(image.size)
    return image.resize([max(1, round(side * factor)) for side in image.size], resample)


class Pairs(torch.utils.data.Dataset):
    """Random scale, crop, flip and colour, from images held in memory at working scale."""

    def __init__(self, settings: dict) -> None:
        self.crop, self.scale, self.jitter = settings["image_size"], settings["scale"], settings["jitter"]
        self.pairs = []
        for example_id in settings["train"]:
            image, mask = (Image.open(path.format(example_id)) for path in (settings["image"], settings["mask"]))
            side = settings["long_side"]
            self.pairs.append((scaled(image.convert("RGB"), side, Image.BILINEAR), scaled(mask, side, Image.NEAREST)))

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        image, mask = self.pairs[index]
        zoom = math.exp(rng.uniform(*map(math.log, self.scale)))
        size = [max(1, round(side * zoom)) for side in image.size]
        image, mask = image.resize(size, Image.BILINEAR), mask.resize(size, Image.NEAREST)
        room = [side - self.crop for side in size]
        left, top = (int(np.sign(side) * rng.integers(0, abs(side) + 1)) for side in room)
        outside = Image.new("RGB", (self.crop,) * 2, (124,) * 3)
        void = Image.new("L", (self.crop,) * 2, VOID)
        outside.paste(image, (-left, -top))
        void.paste(Image.fromarray(np.asarray(mask)), (-left, -top))
        for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
            outside = enhance(outside).enhance(1 + rng.uniform(-self.jitter, self.jitter))
        pixels, labels = np.asarray(outside, np.float32), np.asarray(void, np.int64)
        if rng.random() < 0.5:
            pixels, labels = pixels[:, ::-1], labels[:, ::-1]
        return torch.from_numpy((pixels.transpose(2, 0, 1) - MEAN) / DEVIATION), torch.from_numpy(labels.copy())


def build(settings: dict) -> torch.nn.Module:
    """`smp.Unet` on timm's EfficientNet-Lite0, with the encoder weights of a file, or random ones."""
    model = smp.Unet(
        "tu-tf_efficientnet_lite0", encoder_weights=None, decoder_channels=DECODER, classes=settings["classes"]
    )
    if settings["encoder_weights"]:
        given = torch.load(settings["encoder_weights"], weights_only=True)
        given = [(name, tensor) for name, tensor in given.items() if not name.startswith(("_conv_head", "_bn1", "_fc"))]
        own = list(model.encoder.state_dict().items())
        assert len(own) == len(given), (len(own), len(given))
        for (name, tensor), (other, values) in zip(own, given, strict=True):
            assert tensor.shape == values.shape or tensor.numel() == values.numel() == 1, (name, other)
            tensor.copy_(values.reshape(tensor.shape))
    model.encoder.requires_grad_(not settings["frozen"])
    return model.to(DEVICE, memory_format=torch.channels_last)


def train(model: torch.nn.Module, settings: dict) -> None:
    batch, epochs = settings["batch_size"], settings["epochs"]
    loader = torch.utils.data.DataLoader(Pairs(settings), batch, shuffle=True, drop_last=True)
    steps = epochs * len(loader)
    warmup = settings["warmup_epochs"] * len(loader)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(learning, settings["learning_rate"], weight_decay=settings["weight_decay"])
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min(1, (step + 1) / warmup)
        * 0.5 * (1 + math.cos(math.pi * max(0, step - warmup) / max(1, steps - warmup))),
    )  # fmt: skip
    cross_entropy = torch.nn.CrossEntropyLoss(ignore_index=VOID)
    dice = smp.losses.DiceLoss("multiclass", ignore_index=VOID)
    model.train()
    if settings["frozen"]:
        model.encoder.eval()  # which keeps its normalisation's statistics
    for epoch in range(epochs):
        began, total = time.perf_counter(), 0.0
        for images, masks in loader:
            optimizer.zero_grad()
            with torch.autocast(DEVICE, torch.bfloat16, enabled=settings["half"]):
                logits = model(images.to(DEVICE, memory_format=torch.channels_last))
            masks = masks.to(DEVICE)
            loss = cross_entropy(logits.float(), masks) + settings["dice"] * dice(logits.float(), masks)
            loss.backward()
            optimizer.step()
            rate.step()
            total += loss.item()
        seconds = time.perf_counter() - began
        print(
            f"epoch {epoch + 1}/{epochs}  loss {total / len(loader):.4f}  {len(loader) * batch / seconds:.1f} images/s",
            flush=True,
        )


@torch.no_grad()
def predict(model: torch.nn.Module, settings: dict) -> None:
    """Masks at the images' own sizes: reflect-padded, logits resized bilinearly, then argmax."""
    model.eval()
    output = Path(settings["output"])
    output.mkdir(parents=True, exist_ok=True)
    for example_id in settings["score"]:
        image = Image.open(settings["image"].format(example_id)).convert("RGB")
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
    train(network, chosen)
    predict(network, chosen)
