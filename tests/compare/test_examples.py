"""The photograph of a compared image is what the network saw."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.compare import analysis
from pipeline.compare.analysis import find_data
from pipeline.compare.examples import compare_image
from pipeline.data.decode import decode_example
from pipeline.data.pixels import PixelRules
from pipeline.data.voc import Example
from tests.configs import config_with
from tests.data.oriented import as_stored, png_of_16_bits, save_oriented


def photograph(example: Example, rules: PixelRules, size: tuple[int, int]) -> np.ndarray | None:
    found = compare_image("a", example, {0: [np.zeros(size, np.uint8)]}, 2, 0.0, rules).photograph
    return None if found is None else np.array(found)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_photograph_is_turned_as_in_the_run(tmp_path: Path, suffix: str, orientation: int) -> None:
    example = Example("a", tmp_path / f"a{suffix}", tmp_path / "mask.png")
    pixels = np.random.default_rng(0).integers(0, 256, (9, 14, 3), np.uint8)
    save_oriented(as_stored(Image.fromarray(pixels), orientation), example.image, orientation)
    seen = decode_example(dataclasses.replace(example, orientation=orientation))
    np.testing.assert_array_equal(photograph(example, PixelRules("apply"), (9, 14)), seen)
    stored = decode_example(example)
    np.testing.assert_array_equal(photograph(example, PixelRules("ignore"), stored.shape[:2]), stored)
    if orientation >= 5:
        assert photograph(example, PixelRules("ignore"), (9, 14)) is None


@pytest.mark.parametrize("channels", [1, 3])
def test_photograph_of_16_bits_is_scaled_as_in_the_run(tmp_path: Path, channels: int) -> None:
    example = Example("a", tmp_path / "a.png", tmp_path / "mask.png", intensity=(900.0, 1500.0))
    values = np.random.default_rng(0).integers(900, 1500, (9, 14, channels)).astype(np.uint16)
    example.image.write_bytes(png_of_16_bits(values))
    seen = decode_example(example)
    assert seen.std() > 50
    np.testing.assert_array_equal(photograph(example, PixelRules("refuse", (900.0, 1500.0)), (9, 14)), seen)


def test_data_in_the_home_folder_of_a_user_of_another_machine_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(analysis, "recorded_data_folder", lambda _: None)
    stored: Any = None
    found, (note,) = find_data(stored, config_with(dataset__root="~nobody-at-all/x"), None)
    assert not found and "the dataset was not found at ~nobody-at-all/x" in note
