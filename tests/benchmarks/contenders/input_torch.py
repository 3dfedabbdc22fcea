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


OUTSIDE = {"border_mode": cv2.BORDER_CONSTANT, "fill": 124, "fill_mask": 255}


def others(preset: str) -> list[albumentations.BasicTransform]:
    """What a preset of ours has besides scale, crop, flip and colour."""
    if preset == "any_orientation":
        return [albumentations.Rotate((-180, 180), p=1, **OUTSIDE)]
    if preset == "strong":
        return [
            albumentations.Affine(rotate=(-15, 15), shear=(-5, 5), p=1, **OUTSIDE),
            albumentations.ElasticTransform(alpha=60, sigma=10, approximate=True, p=1, **OUTSIDE),
            albumentations.GaussianBlur(blur_limit=0, sigma_limit=(0.01, 2), p=0.5),
            albumentations.GaussNoise(std_range=(0, 15 / 255), p=0.5),
        ]
    return []


JITTER = {"strong": (0.4, 0.4, 0.4, 0.04)}
COMPRESSION = [albumentations.ImageCompression(quality_range=(30, 100), p=0.5)]


class Crops(torch.utils.data.Dataset):
    """Random scale, crop, flip and colour."""

    def __init__(self) -> None:
        self.kept = [read(number) for number in range(len(wanted["images"]))] if wanted["memory"] else None
        preset = wanted.get("augment", "standard")
        self.change = albumentations.Compose(
            [
                albumentations.RandomScale((low - 1, high - 1), p=1),
                albumentations.PadIfNeeded(crop, crop, border_mode=cv2.BORDER_CONSTANT, fill=124, fill_mask=255),
                albumentations.RandomCrop(crop, crop),
                albumentations.HorizontalFlip(),
                *others(preset),
                albumentations.ColorJitter(*JITTER.get(preset, (0.2, 0.2, 0.2, 0.02)), p=1),
                *(COMPRESSION if preset == "strong" else []),
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
