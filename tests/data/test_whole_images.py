"""Images for validation and test: each once, whole, scaled, padded, in batches of equal size."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipeline.data import decode
from pipeline.data.palette import VOID
from pipeline.data.voc import Example
from pipeline.data.whole_images import SIGNATURE, Batch, WholeImages
from tests.data.folders import Folder, examples_of, sizes_of

MIXED = [(24, 32), (9, 30), (32, 24), (17, 25), (20, 28), (1, 13)]  # 1st, 4th and 5th are 24 x 32 once padded to 8


def as_numpy(batch: Batch) -> list[np.ndarray]:
    return [part.numpy() for part in batch]


@pytest.mark.parametrize("long_side", [None, 16, 40])
@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_every_image_comes_once_padded_with_its_mask(
    voc_folder: Folder, long_side: int | None, batch_size: int
) -> None:
    examples = examples_of(voc_folder(train=0, val=13, test=0, size=MIXED[:5]), "val")
    sizes = sizes_of(examples)
    found = WholeImages(examples, sizes, long_side=long_side, multiple=8, batch_size=batch_size, threads=2)
    seen: list[int] = []
    for indices, images, working, masks, own in map(as_numpy, found):
        assert 1 <= len(indices) <= batch_size
        assert images.dtype == masks.dtype == np.uint8 and own.dtype == working.dtype == np.int32
        assert images.shape[1] % 8 == images.shape[2] % 8 == 0
        assert masks.shape[1:] == tuple(own.max(axis=0))
        for row, index in enumerate(indices):
            image, mask = (
                decode.decode_image(str(examples[index].image)), decode.decode_mask(str(examples[index].mask))
            )  # fmt: skip
            scaled = decode.scale_image(image, long_side)
            np.testing.assert_array_equal(images[row], decode.pad_reflect(scaled, 8))
            assert working[row].tolist() == list(scaled.shape[:2])
            assert own[row].tolist() == sizes[index].tolist() == list(mask.shape)
            height, width = own[row]
            np.testing.assert_array_equal(masks[row, :height, :width], mask)
            assert (masks[row, height:] == VOID).all() and (masks[row, :, width:] == VOID).all()
        seen.extend(indices.tolist())
    assert sorted(seen) == list(range(13))


def test_batches_are_full_except_the_last_of_each_size(voc_folder: Folder) -> None:
    """And the examples of a padded size stay in their order."""
    examples = examples_of(voc_folder(train=0, val=13, test=0, size=MIXED[:5]), "val")
    found = WholeImages(examples, sizes_of(examples), long_side=None, multiple=8, batch_size=4, threads=2)
    indices = [batch[0].numpy().tolist() for batch in found]
    # 24x32: examples 0, 3, 4, 5, 8, 9, 10; 16x32: 1, 6, 11; 32x24: 2, 7, 12
    assert indices == [[0, 3, 4, 5], [8, 9, 10], [1, 6, 11], [2, 7, 12]]


def test_batches_have_the_promised_shapes(voc_folder: Folder) -> None:
    examples = examples_of(voc_folder(train=0, val=2, test=0), "val")
    found = WholeImages(examples, sizes_of(examples), long_side=None, multiple=8, batch_size=2, threads=2)
    (batch,) = found
    assert all(spec.is_compatible_with(part) for spec, part in zip(SIGNATURE, batch, strict=True))


def test_image_of_one_row(tmp_path: Path) -> None:
    Image.fromarray(np.arange(39, dtype=np.uint8).reshape(1, 13, 3)).save(tmp_path / "a.png")
    Image.fromarray(np.zeros((1, 13), np.uint8)).save(tmp_path / "mask.png")
    example = Example("a", tmp_path / "a.png", tmp_path / "mask.png")
    sizes = np.array([[1, 13]])
    for long_side, working in ((None, [1, 13]), (40, [3, 40]), (8, [1, 8])):
        found = WholeImages([example], sizes, long_side=long_side, multiple=4, batch_size=1, threads=2)
        ((_, image, size, mask, own),) = map(as_numpy, found)
        assert size.tolist() == [working] and own.tolist() == [[1, 13]]
        assert image.shape[1:3] == tuple(decode.padded_length(side, 4) for side in working)
        assert mask.shape == (1, 1, 13)


def test_a_damaged_file_ends_the_iteration_with_its_error(voc_folder: Folder) -> None:
    examples = examples_of(voc_folder(train=0, val=5, test=0), "val")
    whole = WholeImages(examples, sizes_of(examples), long_side=None, multiple=8, batch_size=1, threads=2)
    examples[3].image.write_bytes(b"no image")
    found = iter(whole)
    assert [next(found)[0].numpy().tolist() for _ in range(3)] == [[0], [1], [2]]
    with pytest.raises(tf.errors.InvalidArgumentError):
        next(found)
