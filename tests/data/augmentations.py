"""Augmentations that several tests use."""

import dataclasses
from typing import Any

from pipeline.config.schema import AugmentConfig

IDENTITY = AugmentConfig(scale=[1.0, 1.0], flip=False, brightness=0, contrast=0, saturation=0, hue=0)
STANDARD = AugmentConfig(scale=[0.7, 1.5], flip=True, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02)
STRONG = AugmentConfig(
    scale=[0.5, 2.0],
    flip=True,
    flip_vertical=True,
    quarter_turns=True,
    rotate=30,
    shear=10,
    elastic=0.05,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.05,
    blur=2,
    noise=20,
    jpeg=30,
)


def augmentation(**changes: Any) -> AugmentConfig:
    """IDENTITY with some values changed."""
    return dataclasses.replace(IDENTITY, **changes)
