"""Names and masks that come from a tracking server."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.compare.predictions import is_plain_name, readable_mask, spread
from pipeline.data.palette import voc_palette
from pipeline.evaluate.overlay import to_palette_png


@pytest.mark.parametrize("name", ["2007_000033", "a b", "Büsche", "..x", "x.png", "-rf"])
def test_plain_names(name: str) -> None:
    assert is_plain_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\\b", "a\0b", "a\nb", "\x1b[2J", "x" * 201, "\u202ex"])
def test_unsafe_names(name: str) -> None:
    assert not is_plain_name(name)


def test_many_values_are_spread_from_the_first_to_the_last() -> None:
    assert spread({3, 1, 2}, 5) == [1, 2, 3]
    assert spread(range(1, 101), 4) == [1, 34, 67, 100]
    assert spread([], 4) == []


def test_a_palette_mask_is_read_as_indices(tmp_path: Path) -> None:
    mask = np.arange(256, dtype=np.uint8).reshape(16, 16)
    to_palette_png(mask, voc_palette()).save(tmp_path / "p.png")
    Image.fromarray(mask).save(tmp_path / "l.png")
    for name in ("p.png", "l.png"):
        np.testing.assert_array_equal(readable_mask(tmp_path / name), mask)


def test_a_mask_of_one_bit_is_a_mask(tmp_path: Path) -> None:
    """As in training and evaluation."""
    Image.fromarray(np.eye(9, dtype=bool)).save(tmp_path / "mask.png")
    with Image.open(tmp_path / "mask.png") as image:
        assert image.mode == "1"
    np.testing.assert_array_equal(readable_mask(tmp_path / "mask.png"), np.eye(9, dtype=np.uint8))


def test_a_file_that_is_not_a_mask_is_none(tmp_path: Path) -> None:
    mask = to_palette_png(np.zeros((16, 16), np.uint8), voc_palette())
    mask.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(readable_mask(tmp_path / "mask.png"), mask)
    Image.new("RGB", (4, 4)).save(tmp_path / "colours.png")
    Image.new("L", (4, 4)).save(tmp_path / "photograph.jpg")
    (tmp_path / "photograph.jpg").rename(tmp_path / "photograph.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "mask.png").read_bytes()[:-10])
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("colours.png", "photograph.png", "cut.png", "empty.png", "missing.png"):
        assert readable_mask(tmp_path / name) is None
