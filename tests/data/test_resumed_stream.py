"""The data order survives an interruption: from every step on, a new stream has the same remainder.

As in Grain's checkpoint tests: before every batch a new stream is made from that position, and its remainder is
compared byte for byte.
"""

import pytest

from pipeline.config.schema import Config
from pipeline.data import stream
from pipeline.data.training_images import DecodedImages, training_images
from pipeline.data.voc import Example
from tests.data.augmentations import STANDARD
from tests.data.folders import MIXED_SIZES, Folder, examples_of, sizes_of

EPOCHS, EXAMPLES = 2, 7


@pytest.fixture
def examples(voc_folder: Folder) -> list[Example]:
    """Seven images of mixed sizes."""
    return examples_of(voc_folder(train=EXAMPLES, val=0, test=0, size=MIXED_SIZES))


def remainder(examples: list[Example], cache_mb: int, batch_size: int, step: int) -> list[tuple[bytes, bytes]]:
    """Images and masks of each batch from a step on, as a new process would read them: nothing is shared."""
    config = Config(image_size=16, long_side=None, batch_size=batch_size, epochs=EPOCHS, seed=5, augment=STANDARD)
    source = training_images(examples, sizes_of(examples), None, cache_mb, examples[0].image.parent / "decoded.bin")
    assert isinstance(source, DecodedImages) == bool(cache_mb)
    found = stream.training_stream(source, EXAMPLES, config, step)
    return [(images.tobytes(), masks.tobytes()) for images, masks in found.as_numpy_iterator()]


@pytest.mark.parametrize("batch_size", [2, 7])  # epochs of three steps, with one image left over, and of one step
@pytest.mark.parametrize(("first", "resumed"), [(0, 0), (0, 1)], ids=["files", "files, then memory"])
def test_remainder_is_the_same_from_every_step(
    examples: list[Example], first: int, resumed: int, batch_size: int
) -> None:
    whole = remainder(examples, first, batch_size, step=0)
    assert len(whole) == EPOCHS * (EXAMPLES // batch_size)
    assert len(set(whole)) == len(whole)  # otherwise a stream that is a step late would pass
    for step in range(len(whole) + 1):
        assert remainder(examples, resumed, batch_size, step) == whole[step:], step
