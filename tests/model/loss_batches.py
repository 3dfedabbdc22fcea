"""Batches, class weights and configurations of losses; also imported by processes that the tests start."""

import numpy as np

from pipeline.config.schema import LossConfig
from pipeline.data.palette import VOID

CLASSES = 4
WEIGHTS = np.array([0.5, 1.0, 2.0, 3.5], np.float32)


def loss_config(cross_entropy: float = 1.0, focal_gamma: float = 0.0, dice: float = 0.0) -> LossConfig:
    return LossConfig(cross_entropy=cross_entropy, focal_gamma=focal_gamma, class_weights="none", dice=dice)


PLAIN, FOCAL = loss_config(), loss_config(focal_gamma=2.0)
DICE, BOTH = loss_config(cross_entropy=0.0, dice=1.0), loss_config(cross_entropy=0.7, focal_gamma=1.5, dice=0.4)


def batch(seed: int = 0, void: float = 0.3, scale: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    """Masks (2, 5, 6) uint8 with a share of void pixels, and logits (2, 5, 6, CLASSES) float32."""
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, CLASSES, (2, 5, 6)).astype(np.uint8)
    mask[rng.random(mask.shape) < void] = VOID
    return mask, rng.normal(scale=scale, size=(*mask.shape, CLASSES)).astype(np.float32)


def uneven_batch() -> tuple[np.ndarray, np.ndarray]:
    """A batch of two images, one of which is nearly all void and lacks a class."""
    mask, logits = batch(seed=3)
    mask[0, 1:], mask[0, 0] = VOID, 1
    return mask, logits
