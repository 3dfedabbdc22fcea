"""Names and masks that come from a server, and how the page carries them."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.compare.page.page import as_json, jpeg_uri, number, numbers, packed
from pipeline.compare.predictions import is_plain_name, readable_mask, spread
from pipeline.evaluate.overlay import to_palette_png


@pytest.mark.parametrize("name", ["2007_000033", "a b", "Büsche", "..x", "x.png", "-rf"])
def test_plain_names(name: str) -> None:
    assert is_plain_name(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/a", "a\\b", "a\0b", "a\nb", "\x1b[2J", "x" * 201, "\u202ex"])
def test_names_that_could_be_something_else(name: str) -> None:
    assert not is_plain_name(name)


def test_few_values_are_all_kept_and_many_are_spread_from_the_first_to_the_last() -> None:
    assert spread({3, 1, 2}, 5) == [1, 2, 3]
    assert spread(range(1, 101), 4) == [1, 34, 67, 100]
    assert spread([], 4) == []


def test_a_file_that_is_not_a_mask_is_none(tmp_path: Path) -> None:
    mask = to_palette_png(np.ones((16, 16), np.uint8))
    mask.save(tmp_path / "mask.png")
    np.testing.assert_array_equal(readable_mask(tmp_path / "mask.png"), mask)
    Image.new("RGB", (4, 4)).save(tmp_path / "colours.png")
    Image.new("L", (4, 4)).save(tmp_path / "photograph.jpg")
    (tmp_path / "photograph.jpg").rename(tmp_path / "photograph.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "mask.png").read_bytes()[:-10])
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("colours.png", "photograph.png", "cut.png", "empty.png", "missing.png"):
        assert readable_mask(tmp_path / name) is None


# ---- in the page


def test_json_in_the_page_holds_nothing_that_html_reads() -> None:
    data = {"a": "</script><!--<script>&amp;\u2028\ud800 ]]>", "ü": [None, 0.5, True]}
    text = as_json(data)
    assert text.isascii() and not {"<", ">", "&"} & set(text)
    assert json.loads(text) == data
    with pytest.raises(ValueError, match="Out of range"):
        as_json(float("nan"))


def test_numbers_are_finite_or_absent() -> None:
    assert [number(value) for value in (None, float("nan"), float("inf"), 1 / 3)] == [None, None, None, 0.333333]
    assert numbers(np.array([[1.0, np.nan], [0.25, -1]])) == [[1.0, None], [0.25, -1.0]]


def test_a_packed_mask_is_its_indices_row_by_row() -> None:
    mask = np.array([[0, 1, 255], [7, 0, 0]], np.uint8)
    assert list(zlib.decompress(base64.b64decode(packed(mask) or ""))) == [0, 1, 255, 7, 0, 0]
    assert packed(None) is None


def test_a_photograph_is_coded_anew_without_what_else_its_file_says() -> None:
    photograph = Image.new("RGB", (8, 8), (200, 30, 30))
    photograph.info |= {"exif": b"Exif\0\0secret place", "comment": b"secret note"}
    uri = jpeg_uri(photograph) or ""
    assert uri.startswith("data:image/jpeg;base64,")
    assert b"secret" not in base64.b64decode(uri.partition(",")[2])
    assert jpeg_uri(None) is None
