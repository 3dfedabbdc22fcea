"""An export without a run in MLflow, for the tests of the formats."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from pipeline.config.overrides import checked_config
from pipeline.evaluate.stored_network import StoredNetwork
from pipeline.export.formats import Export
from pipeline.model.build import build_network

CLASSES = ["ground", "Büsche", "a/b"]
SIZES = ((21, 37), (1, 1), (16, 24), (1, 9))
TINY = ("model.depth=1", "model.width=2", "dataset=folder", "dataset.root=VOC", 'dataset.classes=[ground,"Büsche",a/b]')
VIEWS = ("evaluate.flip=true", "evaluate.scales=[0.5]", "evaluate.window=8", "long_side=24")


def export_of(name: str, *options: str, probabilities: bool = False, quantized: bool = False) -> Export:
    """A tiny network with random weights; in float32 and on one thread if the options do not say otherwise."""
    config = checked_config([*TINY, "precision=float32", "threads=1", *options])
    stored = StoredNetwork("a run", config, build_network(config), frozenset(), {"weights_sha256": "abc"})
    return Export(stored, config, name, probabilities, quantized)


def smooth_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """(height, width, 3) uint8; neighbouring pixels are alike, as in an image."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 3, 3))
    return tf.cast(tf.image.resize(coarse, (height, width)), tf.uint8).numpy()


def assert_same_masks(export: Export, path: Path, differing: float = 0.0) -> None:
    """The file has the masks of the network: images of several sizes, and two of one size at once.

    Args:
        differing: the largest share of pixels whose class may be another, as one of two with nearly equal logits.
    """
    run, (network, *_) = export.open(path), export.networks().values()
    for size in SIZES:
        images = np.stack([smooth_image(*size), smooth_image(*size, seed=1)])
        found = run(images)
        assert found.dtype == np.uint8 and found.shape == images.shape[:3]
        expected = np.stack([network(image) for image in images])
        assert (found != expected).mean() <= differing
        np.testing.assert_array_equal(run(images[:1]), found[:1])


def assert_probabilities(found: np.ndarray, precision: float = 1e-5) -> None:
    """They are those of each class, up to a precision."""
    assert found.dtype == np.float32 and found.shape[-1] == len(CLASSES)
    np.testing.assert_allclose(found.sum(-1), 1, atol=precision)


def need(*packages: str) -> None:
    """Skip a module whose extra is missing."""
    for package in packages:
        pytest.importorskip(package, reason=f"{package} is not installed: pip install -c constraints.txt -e '.[test]'")
