"""Tiles for a grid of images: what they show, and how large they are."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.evaluate.image_tile import CAPTION, GAP, PANEL, SMALL, ImageTile, as_webp
from pipeline.evaluate.overlay import blend, error_colours
from tests.evaluate.masks import WITH_BACKGROUND, triple


def panel(sheet: Image.Image, place: int, height: int, width: int) -> np.ndarray:
    """One of the four panels, (height, width, 3) uint8."""
    left, top = place % 2 * (width + GAP), CAPTION + place // 2 * (height + CAPTION + GAP)
    return np.asarray(sheet)[top : top + height, left : left + width]


def test_the_panels_are_photograph_truth_prediction_errors() -> None:
    size = (240, 320)  # shown as large as it is
    image, truth, prediction = triple(*size)
    sheet = ImageTile(image, truth, WITH_BACKGROUND).draw(prediction, 0.25)
    assert (panel(sheet, 0, *size) == image).all()
    assert (panel(sheet, 1, *size) == blend(image, truth, WITH_BACKGROUND))[truth != 255].all()
    assert (panel(sheet, 2, *size) == blend(image, prediction, WITH_BACKGROUND)).all()
    wrong, colours = error_colours(truth, prediction, 0)
    errors = panel(sheet, 3, *size)
    assert (errors == colours)[wrong].all() and (errors == errors[..., :1])[~wrong].all()


def test_a_tile_is_drawn_anew_for_each_prediction() -> None:
    image, truth, prediction = triple(40, 60)
    tile = ImageTile(image, truth, WITH_BACKGROUND)
    first = tile.draw(prediction, None)
    tile.draw(truth.clip(max=1), 0.5)
    assert (np.asarray(tile.draw(prediction, None)) == np.asarray(first)).all()


@pytest.mark.parametrize("size", [(1, 1), (375, 500), (3000, 4000), (7, 900), (112, 152)])
def test_any_image_becomes_a_tile_of_moderate_size(size: tuple[int, int]) -> None:
    image, truth, prediction = triple(*size)
    sheet = ImageTile(image, truth, WITH_BACKGROUND).draw(prediction, 1.0)
    assert max(sheet.size) <= 2 * (PANEL + CAPTION) + GAP and min(sheet.size) >= 2


def test_a_webp_is_small_and_always_the_same() -> None:
    image, truth, prediction = triple(200, 300)
    sheet = ImageTile(image, truth, WITH_BACKGROUND).draw(prediction, 1.0)
    whole, small = as_webp(sheet), as_webp(sheet, SMALL)
    assert as_webp(sheet) == whole and len(small) < len(whole)
    for content, longest in ((whole, max(sheet.size)), (small, SMALL)):
        with Image.open(io.BytesIO(content)) as read:
            assert read.format == "WEBP" and max(read.size) == longest
