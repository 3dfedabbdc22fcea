"""The U-Net of `model=unet model.upsampling=transposed` in PyTorch, layer for layer."""

import torch
from torch import nn


def block(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [
            nn.Conv2d(channels, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.1),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


class Unet(nn.Module):
    """Two 3x3 convolutions at each level, transposed convolutions on the way up."""

    def __init__(self, depth: int, width: int, classes: int) -> None:
        super().__init__()
        channels = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(block(*pair) for pair in zip([3, *channels[:-2]], channels[:-1], strict=True))
        self.bottom = block(channels[-2], channels[-1])
        pairs = list(zip(channels[1:], channels[:-1], strict=True))[::-1]
        self.up = nn.ModuleList(nn.ConvTranspose2d(deep, shallow, 2, 2) for deep, shallow in pairs)
        self.join = nn.ModuleList(block(2 * shallow, shallow) for _, shallow in pairs)
        self.logits = nn.Conv2d(width, classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for level in self.down:
            skips.append(x := level(x))
            x = nn.functional.max_pool2d(x, 2)
        x = self.bottom(x)
        for up, join, skip in zip(self.up, self.join, reversed(skips), strict=True):
            x = join(torch.cat([skip, up(x)], 1))
        return self.logits(x)
