"""Colours over photographs, colours of errors and palette PNGs, pixel by pixel on images made here."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.data.palette import VOID, voc_palette
from pipeline.evaluate.overlay import CONFUSED, FALSE, MISSED, blend, error_colours, to_palette_png, write_png
from tests.evaluate.masks import WITH_BACKGROUND, classes, seeds, sizes, triple


@settings(max_examples=50, deadline=None)
@given(sizes, seeds, st.floats(0, 1))
def test_blend_leaves_background_and_void_alone(size: tuple[int, int], seed: int, opacity: float) -> None:
    image, mask, _ = triple(*size, seed)
    before = image.copy()
    blended = blend(image, mask, WITH_BACKGROUND, opacity)
    untouched = (mask == 0) | (mask == VOID)
    assert blended.dtype == np.uint8
    assert (blended[untouched] == image[untouched]).all()
    assert (image == before).all()


def test_blend_mixes_inside_and_outlines_in_full_colour() -> None:
    image, mask = np.full((7, 7, 3), 100, np.uint8), np.zeros((7, 7), np.uint8)
    mask[1:6, 1:6] = 2  # (0, 128, 0)
    blended = blend(image, mask, WITH_BACKGROUND, opacity=0.25)
    assert (blended[2:5, 2:5] == (75, 107, 75)).all()
    outline = np.zeros((7, 7), bool)
    outline[1:6, 1:6], outline[2:5, 2:5] = True, False
    assert (blended[outline] == voc_palette()[2]).all()


def test_blend_at_the_ends_of_opacity() -> None:
    image, mask = np.full((3, 3, 3), 100, np.uint8), np.full((3, 3), 5, np.uint8)
    assert (blend(image, mask, WITH_BACKGROUND, 0) == image).all()
    assert (blend(image, mask, WITH_BACKGROUND, 1) == voc_palette()[5]).all()
    with pytest.raises(ValueError, match=r"opacity is 1\.5"):
        blend(image, mask, WITH_BACKGROUND, 1.5)


def test_kinds_of_error() -> None:
    truth = np.array([[0, 0, 1, 1, 1, VOID, VOID]], np.uint8)
    prediction = np.array([[0, 1, 0, 2, 1, 0, 3]], np.uint8)
    wrong, colours = error_colours(truth, prediction, 0)
    assert wrong.tolist() == [[False, True, True, True, False, False, False]]
    assert list(map(tuple, colours[wrong].tolist())) == [FALSE, MISSED, CONFUSED]


def test_kinds_of_error_with_the_background_at_index_2() -> None:
    truth = np.array([[2, 2, 1, 1, 0, VOID]], np.uint8)
    prediction = np.array([[2, 1, 2, 0, 0, 2]], np.uint8)
    wrong, colours = error_colours(truth, prediction, 2)
    assert wrong.tolist() == [[False, True, True, True, False, False]]
    assert list(map(tuple, colours[wrong].tolist())) == [FALSE, MISSED, CONFUSED]


def test_without_a_background_every_error_is_a_confusion() -> None:
    truth, prediction = np.array([[0, 0, 1, VOID]], np.uint8), np.array([[0, 1, 0, 0]], np.uint8)
    wrong, colours = error_colours(truth, prediction, None)
    assert wrong.tolist() == [[False, True, True, False]]
    assert (colours[wrong] == CONFUSED).all()


@pytest.mark.parametrize("background", [None, 2])
def test_all_classes_but_the_background_are_coloured(background: int | None) -> None:
    image, mask = np.full((6, 10, 3), 100, np.uint8), np.repeat(np.array([[0, 1, 2, 3, VOID]], np.uint8), 2, axis=1)
    mask, shown = np.repeat(mask, 6, axis=0), classes(background)
    blended = blend(image, mask, shown, opacity=1)
    for index in (0, 1, 2, 3):
        expected = (100, 100, 100) if index == background else shown.colours[index]
        assert (blended[mask == index] == expected).all()
    assert (blended[mask == VOID] == 100).all()


@settings(max_examples=30, deadline=None)
@given(sizes, seeds)
def test_a_palette_png_keeps_every_index(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], seed: int
) -> None:
    mask = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    path = tmp_path_factory.getbasetemp() / "mask.png"
    write_png(path, to_palette_png(mask, voc_palette()))
    with Image.open(path) as image:
        assert image.mode == "P"
        assert (np.asarray(image) == mask).all()
        assert (np.asarray(image.convert("RGB")) == voc_palette()[mask]).all()


def test_equal_images_give_equal_files(tmp_path: Path) -> None:
    image = Image.fromarray(triple(50, 60)[0])
    for name in ("a.png", "folder/b.png"):
        write_png(tmp_path / name, image)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "folder" / "b.png").read_bytes()


def test_arrays_of_another_kind_are_refused() -> None:
    image, mask, _ = triple(4, 5)
    with pytest.raises(ValueError, match=r"image is float64 \(4, 5, 3\)"):
        blend(image / 255, mask, WITH_BACKGROUND)
    with pytest.raises(ValueError, match=r"mask is uint8 \(3, 5\), expected uint8 \(4, 5\)"):
        blend(image, mask[:3], WITH_BACKGROUND)
    with pytest.raises(ValueError, match=r"mask is int64"):
        to_palette_png(mask.astype(np.int64), voc_palette())
