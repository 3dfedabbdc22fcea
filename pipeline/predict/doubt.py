"""How uncertain a network is of each image, for the choice of what to label next: `doubt.csv`."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

BAND = 64  # rows of an image whose logarithms are in memory at a time


@dataclass(frozen=True)
class Doubt:
    """How uncertain the prediction of one image is, on average over its pixels."""

    image: str
    entropy: float  # nats: 0 if it is certain, the logarithm of the number of classes if it is pure chance
    confidence: float  # greatest probability, 0 to 1


def doubt(image: str, probabilities: np.ndarray) -> Doubt:
    """The mean, over pixels, of the entropy of their probabilities (Shannon 1948), and of the greatest of them.

    Args:
        image: its name.
        probabilities: (height, width, classes) float32.
    """
    total = 0.0
    for top in range(0, len(probabilities), BAND):
        band = probabilities[top : top + BAND]
        # A probability of 0 adds nothing: p log p tends to 0.
        total -= float((band * np.log(np.maximum(band, np.finfo(np.float32).tiny))).sum(dtype=np.float64))
    height, width, _ = probabilities.shape
    return Doubt(image, total / (height * width), float(probabilities.max(axis=-1).mean(dtype=np.float64)))


def ranked(doubts: list[Doubt]) -> list[Doubt]:
    """The most uncertain image first."""
    return sorted(doubts, key=lambda found: (-found.entropy, found.image))


def write_doubts(file: Path, doubts: list[Doubt]) -> None:
    """Write them as CSV, the most uncertain image first."""
    with file.open("w", newline="", encoding="utf-8") as opened:
        table = csv.writer(opened)
        table.writerow(["image", "mean_entropy_nats", "mean_confidence"])
        table.writerows([found.image, found.entropy, found.confidence] for found in ranked(doubts))
