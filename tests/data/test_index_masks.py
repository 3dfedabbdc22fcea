"""Masks read by Pillow: the indices of a palette or of one channel, and an error for everything else."""

import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.data.image_files import NoIndices, read_index_mask, undecodable
from pipeline.data.palette import voc_palette
from tests.data.png_files import grey_png


@pytest.mark.parametrize("mode", ["P", "L"])
def test_palette_or_grey_is_its_indices(tmp_path: Path, mode: str) -> None:
    indices = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = Image.fromarray(indices)
    if mode == "P":
        image.putpalette(voc_palette().tobytes())
    image.save(tmp_path / "mask.png")
    found = read_index_mask(tmp_path / "mask.png")
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, indices)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_palette_of_few_bits_is_its_indices(tmp_path: Path, bits: int) -> None:
    indices = (np.arange(35) % 2**bits).astype(np.uint8).reshape(5, 7)
    image = Image.fromarray(indices)
    image.putpalette(voc_palette().tobytes())
    image.save(tmp_path / "mask.png", bits=bits)
    np.testing.assert_array_equal(read_index_mask(tmp_path / "mask.png"), indices)


def test_black_and_white_is_0_and_1(tmp_path: Path) -> None:
    Image.fromarray(np.eye(9, dtype=bool)).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "1"
    np.testing.assert_array_equal(read_index_mask(tmp_path / "mask.png"), np.eye(9, dtype=np.uint8))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colours_are_not_indices(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (4, 3)).save(tmp_path / "mask.png")
    with pytest.raises(NoIndices) as raised:
        read_index_mask(tmp_path / "mask.png")
    assert undecodable(raised.value) == f"is {mode}; a palette or one-channel 8-bit PNG of indices expected"


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_that_pillow_stretches_is_not_indices(tmp_path: Path, bits: int) -> None:
    (tmp_path / "mask.png").write_bytes(grey_png(8, 1, bits, zlib.compress(b"\x00" + b"\x10" * bits)))
    with pytest.raises(NoIndices, match=f"^is grey of {bits} bits; "):
        read_index_mask(tmp_path / "mask.png")


def test_jpeg_is_not_a_mask(tmp_path: Path) -> None:
    Image.new("L", (11, 9)).save(tmp_path / "mask.png", format="JPEG")
    with pytest.raises(OSError, match="cannot identify"):
        read_index_mask(tmp_path / "mask.png")


def test_cut_file_is_not_a_mask(tmp_path: Path) -> None:
    Image.new("L", (11, 9)).save(tmp_path / "mask.png")
    (tmp_path / "mask.png").write_bytes((tmp_path / "mask.png").read_bytes()[:-10])
    with pytest.raises((OSError, SyntaxError, ValueError)):
        read_index_mask(tmp_path / "mask.png")
