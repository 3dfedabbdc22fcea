"""From a mask's file to class indices: the indices of a palette never become colours."""

import io
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.data import decode
from pipeline.data.palette import voc_palette

sides = st.integers(1, 40)


def save_mask(path: Path, labels: np.ndarray, mode: str = "P", **options: object) -> None:
    image = Image.fromarray(labels)
    if mode == "P":
        image.putpalette(voc_palette().tobytes())
    image.convert(mode).save(path, **options)


@pytest.mark.parametrize("mode", ["P", "L"])
def test_mask_is_its_indices(tmp_path: Path, mode: str) -> None:
    """All 256 of them, with 255."""
    labels = np.random.default_rng(0).permutation(np.arange(256, dtype=np.uint8)).reshape(8, 32)
    save_mask(tmp_path / "mask.png", labels, mode)
    mask = decode.decode_mask(str(tmp_path / "mask.png"))
    assert mask.dtype == tf.uint8
    np.testing.assert_array_equal(mask, labels)


def test_mask_whose_palette_has_equal_colours(tmp_path: Path) -> None:
    labels = np.arange(6, dtype=np.uint8).reshape(2, 3)
    image = Image.fromarray(labels)
    image.putpalette([7, 7, 7] * 256)
    image.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(decode.decode_mask(str(tmp_path / "mask.png")), labels)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_mask_of_few_bits(tmp_path: Path, bits: int) -> None:
    labels = (np.arange(35) % 2**bits).astype(np.uint8).reshape(5, 7)
    save_mask(tmp_path / "mask.png", labels, bits=bits)
    np.testing.assert_array_equal(decode.decode_mask(str(tmp_path / "mask.png")), labels)


def test_black_and_white_mask_is_0_and_1(tmp_path: Path) -> None:
    labels = np.random.default_rng(0).integers(0, 2, (5, 7)).astype(bool)
    Image.fromarray(labels).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(decode.decode_mask(str(tmp_path / "mask.png")), labels)


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.integers(17, 256), st.booleans(), st.integers(0, 9))
def test_palette_is_removed_from_the_file(height: int, width: int, colours: int, transparent: bool, seed: int) -> None:
    """Palettes of any length, with transparency or without; a wrong checksum of the header would fail the decoding."""
    rng = np.random.default_rng(seed)
    image = Image.fromarray(rng.integers(0, colours, (height, width), np.uint8))
    image.putpalette(rng.integers(0, 256, 3 * colours, np.uint8).tobytes())
    content = io.BytesIO()
    image.save(
        content, "PNG", bits=8, **({"transparency": bytes(rng.integers(0, 256, 2, np.uint8))} if transparent else {})
    )
    grey = decode._without_palette(tf.constant(content.getvalue())).numpy()
    assert b"PLTE" not in grey and b"tRNS" not in grey
    np.testing.assert_array_equal(Image.open(io.BytesIO(grey)), image)
    np.testing.assert_array_equal(tf.io.decode_png(grey, channels=1)[..., 0], image)


def test_damaged_mask_is_refused(tmp_path: Path) -> None:
    save_mask(tmp_path / "mask.png", np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8))
    whole = (tmp_path / "mask.png").read_bytes()
    for content in (b"", whole[:30], whole[:-900], whole[:20] + b"\xff" + whole[21:]):
        (tmp_path / "mask.png").write_bytes(content)
        with pytest.raises((tf.errors.OpError, OSError)):
            decode.decode_mask(str(tmp_path / "mask.png"))


def test_mask_inside_a_dataset(tmp_path: Path) -> None:
    masks = [np.full((3 + i, 5), i, np.uint8) for i in range(4)]
    names = [str(tmp_path / f"{i}.png") for i in range(4)]
    for name, labels in zip(names, masks, strict=True):
        save_mask(Path(name), labels)
    stream = tf.data.Dataset.from_tensor_slices(names).map(decode.decode_mask, num_parallel_calls=2)
    assert stream.element_spec.shape.as_list() == [None, None]
    for labels, mask in zip(masks, stream.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(mask, labels)
