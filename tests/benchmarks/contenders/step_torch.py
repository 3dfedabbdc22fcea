"""The same U-Net in PyTorch, layer for layer: eager, channels_last, bfloat16 by autocast."""

import numpy as np
import torch
from torch import nn

from tests.benchmarks.contenders.repeats import serve, settings
from tests.benchmarks.contenders.unet_torch import Unet

wanted = settings()
batch, side, steps, classes = wanted["batch"], wanted["side"], wanted["steps"], 21
torch.set_num_threads(wanted["threads"])

network = Unet(wanted["depth"], wanted["width"], classes).to(memory_format=torch.channels_last)
optimizer = torch.optim.Adam(network.parameters(), 1e-3)
loss_of = nn.CrossEntropyLoss(ignore_index=255)
rng = np.random.default_rng(0)
images = torch.from_numpy(rng.integers(0, 256, (batch, 3, side, side), np.uint8))
images = images.to(memory_format=torch.channels_last)
masks = torch.from_numpy(rng.integers(0, classes, (batch, side, side)))
half = wanted["precision"] != "float32"


def work() -> float:
    """In images."""
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            logits = network(images.float() / 127.5 - 1)
        loss = loss_of(logits.float(), masks)
        loss.backward()
        optimizer.step()
        loss.item()  # a training loop looks at it
    return batch * steps


serve(work)
