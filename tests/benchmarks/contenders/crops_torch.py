"""Crops as PyTorch's users make them: OpenCV, Pillow and albumentations, with images in memory or from the files."""

from typing import Any

import albumentations
import cv2
import numpy as np
import torch
from PIL import Image

cv2.setNumThreads(0)  # each worker is one thread, as is the custom
OUTSIDE = {"border_mode": cv2.BORDER_CONSTANT, "fill": 124, "fill_mask": 255}
JITTER = {"strong": (0.4, 0.4, 0.4, 0.04)}
COMPRESSION = [albumentations.ImageCompression(quality_range=(30, 100), p=0.5)]


def read(image: str, mask: str) -> tuple[np.ndarray, np.ndarray]:
    return cv2.cvtColor(cv2.imread(image), cv2.COLOR_BGR2RGB), np.array(Image.open(mask))


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


class Crops(torch.utils.data.Dataset):
    """Random scale, crop, flip and colour."""

    def __init__(self, wanted: dict[str, Any]) -> None:
        self.files = list(zip(wanted["images"], wanted["masks"], strict=True))
        self.kept = [read(*files) for files in self.files] if wanted["memory"] else None
        crop, (low, high), preset = wanted["crop"], wanted["scale"], wanted.get("augment", "standard")
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
        return len(self.files)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, torch.Tensor]:
        image, mask = self.kept[number] if self.kept else read(*self.files[number])
        changed = self.change(image=image, mask=mask)
        return torch.from_numpy(changed["image"]), torch.from_numpy(changed["mask"])
