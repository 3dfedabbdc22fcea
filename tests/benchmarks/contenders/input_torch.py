"""The same crops as PyTorch's users make them: DataLoader with two workers, OpenCV, Pillow and albumentations."""

import albumentations
import cv2
import numpy as np
import torch
from PIL import Image

from tests.benchmarks.contenders.repeats import serve, settings

wanted = settings()
crop, (low, high) = wanted["crop"], wanted["scale"]
cv2.setNumThreads(0)  # each worker is one thread, as is the custom


def read(number: int) -> tuple[np.ndarray, np.ndarray]:
    image = cv2.cvtColor(cv2.imread(wanted["images"][number]), cv2.COLOR_BGR2RGB)
    return image, np.array(Image.open(wanted["masks"][number]))


class Crops(torch.utils.data.Dataset):
    """Random scale, crop, flip and colour."""

    def __init__(self) -> None:
        self.kept = [read(number) for number in range(len(wanted["images"]))] if wanted["memory"] else None
        self.change = albumentations.Compose(
            [
                albumentations.RandomScale((low - 1, high - 1), p=1),
                albumentations.PadIfNeeded(crop, crop, border_mode=cv2.BORDER_CONSTANT, fill=124, fill_mask=255),
                albumentations.RandomCrop(crop, crop),
                albumentations.HorizontalFlip(),
                albumentations.ColorJitter(0.2, 0.2, 0.2, 0.02, p=1),
            ]
        )

    def __len__(self) -> int:
        return len(wanted["images"])

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = self.kept[number] if self.kept else read(number)
        changed = self.change(image=image, mask=mask)
        return torch.from_numpy(changed["image"]), torch.from_numpy(changed["mask"])


loader = torch.utils.data.DataLoader(
    Crops(), wanted["batch"], shuffle=True, drop_last=True, num_workers=2, persistent_workers=True
)


def epoch() -> float:
    """In crops."""
    return sum(len(images) for images, _ in loader)


serve(epoch)
