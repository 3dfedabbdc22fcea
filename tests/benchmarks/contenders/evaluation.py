"""Scoring a split at the images' own size: this project's way, or the obvious one, an image at a time in numpy.

Both have the same weights; the confusion matrix is printed, so that the driver can compare them.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from pipeline.config.overrides import checked_config
from pipeline.data.decode import padded_length, scale_image
from pipeline.evaluate.evaluator import BatchScorer, Evaluator
from pipeline.model.build import build_network
from pipeline.model.losses import SegmentationLoss
from pipeline.runtime.hardware import resolve_auto, set_up
from tests.benchmarks.contenders.examples import examples_of
from tests.benchmarks.contenders.repeats import serve, settings

wanted = settings()
config = resolve_auto(
    checked_config([*wanted["options"], f"threads={wanted['threads']}", f"precision={wanted['precision']}"])
)
set_up(config)
network = build_network(config)
classes, multiple = len(config.dataset.classes), 2**config.model.depth
examples, sizes = examples_of(wanted)
scorer = BatchScorer(network, SegmentationLoss(config.loss, np.ones(classes, np.float32)), config)
evaluate = Evaluator(scorer, examples, sizes, config)
reported: set[str] = set()


def tell(matrix: np.ndarray) -> None:
    """Once, and again if it ever changes."""
    if (text := str(matrix.tolist())) not in reported:
        reported.add(text)
        Path(wanted["matrix"]).write_text(text)


def ours() -> float:
    """In images."""
    tell(evaluate().confusion_matrix)
    return len(examples)


def resized(logits: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Bilinearly, in float32, with TensorFlow's order of operations."""
    for axis, length in ((1, size[1]), (0, size[0])):
        scale = np.float32(logits.shape[axis]) / np.float32(length)
        at = (np.arange(length, dtype=np.float32) + np.float32(0.5)) * scale - np.float32(0.5)
        low = np.floor(at)
        shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
        weight = (at - low).astype(np.float32).reshape(shape)
        last = logits.shape[axis] - 1
        lower = logits.take(np.maximum(low, 0).astype(int), axis)
        upper = logits.take(np.minimum(np.ceil(at), last).astype(int), axis)
        logits = lower + (upper - lower) * weight
    return logits


def obvious() -> float:
    """In images."""
    matrix = np.zeros((classes, classes), np.int64)
    for example in examples:
        pixels, mask = np.array(Image.open(example.image).convert("RGB")), np.array(Image.open(example.mask))
        height, width = mask.shape
        if config.long_side:  # Pillow's would differ by a level here and there
            pixels = scale_image(tf.constant(pixels), config.long_side).numpy()
        tall, wide = pixels.shape[:2]
        around = [(0, padded_length(side, multiple) - side) for side in (tall, wide)]
        padded = np.pad(pixels, [*around, (0, 0)], "reflect")
        logits = network.predict(padded[np.newaxis], verbose=0)[0, :tall, :wide]
        if (tall, wide) != (height, width):
            logits = resized(logits, (height, width))
        prediction, valid = logits.argmax(-1), mask != 255
        pairs_of = mask[valid].astype(np.int64) * classes + prediction[valid]
        matrix += np.bincount(pairs_of, minlength=classes**2).reshape(classes, classes)
    tell(matrix)
    return len(examples)


serve(ours if wanted["ours"] else obvious)
