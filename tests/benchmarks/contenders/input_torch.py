"""The same crops as PyTorch's users make them: a DataLoader with two workers."""

import torch

from tests.benchmarks.contenders.crops_torch import Crops
from tests.benchmarks.contenders.repeats import serve, settings

wanted = settings()
loader = torch.utils.data.DataLoader(
    Crops(wanted), wanted["batch"], shuffle=True, drop_last=True, num_workers=2, persistent_workers=True
)


def epoch() -> float:
    """In crops."""
    return sum(len(images) for images, _ in loader)


serve(epoch)
