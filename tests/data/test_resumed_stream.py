"""The data order survives an interruption: from every step on, what is left of the stream is what was left of it.

In the manner of Grain's checkpoint tests: the position is taken before every batch, a new stream is made from it, and
its remainder is compared byte for byte.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.config.schema import AugmentConfig, Config
from pipeline.data import stream
from pipeline.data.image_files import read_index_mask
from pipeline.data.training_images import DecodedImages, training_images
from pipeline.data.voc import Example

EPOCHS, EXAMPLES = 3, 7
AUGMENT = AugmentConfig(scale=[0.7, 1.5], flip=True, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.02)


@pytest.fixture
def examples(voc_folder: Callable[..., Path]) -> list[Example]:
    """Seven images of mixed sizes."""
    root = voc_folder(train=EXAMPLES, val=0, test=0, size=[(24, 32), (40, 17), (9, 30)])
    images, masks = root / "JPEGImages", root / "SegmentationClass"
    ids = [f"train_{index}" for index in range(EXAMPLES)]
    return [Example(id, images / f"{id}.jpg", masks / f"{id}.png") for id in ids]


def remainder(examples: list[Example], cache_mb: int, batch_size: int, step: int) -> list[tuple[bytes, bytes]]:
    """Images and masks of each batch from a step on, as a new process would read them: nothing is shared."""
    config = Config(image_size=16, long_side=None, batch_size=batch_size, epochs=EPOCHS, seed=5, augment=AUGMENT)
    sizes = np.array([read_index_mask(example.mask).shape for example in examples])
    source = training_images(examples, sizes, None, cache_mb, examples[0].image.parent / "decoded.bin")
    assert isinstance(source, DecodedImages) == bool(cache_mb)
    found = stream.training_stream(source, EXAMPLES, config, step)
    return [(images.tobytes(), masks.tobytes()) for images, masks in found.as_numpy_iterator()]


@pytest.mark.parametrize("batch_size", [2, 7])  # epochs of three steps, that leave an image over, and of one
@pytest.mark.parametrize(("begun", "continued"), [(0, 0), (0, 1)], ids=["files", "memory, begun from files"])
def test_from_every_step_on_the_remainder_is_the_same(
    examples: list[Example], begun: int, continued: int, batch_size: int
) -> None:
    whole = remainder(examples, begun, batch_size, step=0)
    assert len(whole) == EPOCHS * (EXAMPLES // batch_size)
    assert len(set(whole)) == len(whole)  # so that a stream that is a step late cannot pass
    for step in range(len(whole) + 1):
        assert remainder(examples, continued, batch_size, step) == whole[step:], step
