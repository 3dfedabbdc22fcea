"""Augmentations that several tests use."""

import dataclasses
from typing import Any

from pipeline.config.schema import AugmentConfig

IDENTITY = AugmentConfig(scale=[1.0, 1.0], flip=False, brightness=0, contrast=0, saturation=0, hue=0)
STANDARD = AugmentConfig(scale=[0.7, 1.5], flip=True, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02)


def augmentation(**changes: Any) -> AugmentConfig:
    """IDENTITY with some values changed."""
    return dataclasses.replace(IDENTITY, **changes)
