"""Overlays and comparison sheets, checked pixel by pixel on images made here."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.data.palette import VOID, voc_palette
from pipeline.evaluate import overlay
from pipeline.evaluate.overlay import (
    CONFUSED,
    FALSE,
    LEGEND_OF_ERRORS,
    LEGEND_OF_VOID,
    MISSED,
    blend,
    comparison,
    error_colours,
    font,
    lettering,
    panel_boxes,
    panel_size,
    to_palette_png,
    write_png,
)

CLASSES = ["background", "disc", "square", "triangle"]
sizes = st.tuples(st.integers(1, 40), st.integers(1, 40))
seeds = st.integers(0, 2**32 - 1)


def example(height: int, width: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A noisy photograph, a truth with void, a prediction without."""
    random = np.random.default_rng(seed)
    image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    truth = random.choice(np.array([0, 1, 2, 3, VOID], np.uint8), (height, width))
    return image, truth, random.integers(0, 4, (height, width), dtype=np.uint8)


@pytest.fixture
def lettered(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text, as it stands on the sheets made in the test."""
    texts: list[str] = []

    def note(text: str, size: int, width: float) -> str:
        texts.append(lettering(text, size, width))
        return texts[-1]

    monkeypatch.setattr(overlay, "lettering", note)
    return texts


@settings(max_examples=50, deadline=None)
@given(sizes, seeds, st.floats(0, 1))
def test_blend_leaves_background_and_void_alone(size: tuple[int, int], seed: int, opacity: float) -> None:
    image, mask, _ = example(*size, seed)
    before = image.copy()
    blended = blend(image, mask, opacity)
    untouched = (mask == 0) | (mask == VOID)
    assert blended.dtype == np.uint8
    assert (blended[untouched] == image[untouched]).all()
    assert (image == before).all()


def test_blend_mixes_inside_and_outlines_in_the_full_colour() -> None:
    image, mask = np.full((7, 7, 3), 100, np.uint8), np.zeros((7, 7), np.uint8)
    mask[1:6, 1:6] = 2  # (0, 128, 0)
    blended = blend(image, mask, opacity=0.25)
    assert (blended[2:5, 2:5] == (75, 107, 75)).all()
    outline = np.zeros((7, 7), bool)
    outline[1:6, 1:6], outline[2:5, 2:5] = True, False
    assert (blended[outline] == voc_palette()[2]).all()


def test_blend_at_the_ends_of_opacity() -> None:
    image, mask = np.full((3, 3, 3), 100, np.uint8), np.full((3, 3), 5, np.uint8)
    assert (blend(image, mask, 0) == image).all()
    assert (blend(image, mask, 1) == voc_palette()[5]).all()
    with pytest.raises(ValueError, match=r"opacity is 1\.5"):
        blend(image, mask, 1.5)


def test_kinds_of_error() -> None:
    truth = np.array([[0, 0, 1, 1, 1, VOID, VOID]], np.uint8)
    prediction = np.array([[0, 1, 0, 2, 1, 0, 3]], np.uint8)
    wrong, colours = error_colours(truth, prediction)
    assert wrong.tolist() == [[False, True, True, True, False, False, False]]
    assert list(map(tuple, colours[wrong].tolist())) == [FALSE, MISSED, CONFUSED]


@settings(max_examples=20, deadline=None)
@given(sizes, seeds)
def test_error_panel_has_colour_at_the_wrong_pixels_only(size: tuple[int, int], seed: int) -> None:
    image, truth, prediction = example(*size, seed)
    sheet = comparison(image, truth, prediction, CLASSES, "heading")
    panel = np.asarray(sheet.crop(panel_boxes(*size, 4)[3]))
    factor = panel.shape[0] // size[0]
    assert panel.shape == (size[0] * factor, size[1] * factor, 3)

    for row, column in np.ndindex(size):
        block = panel[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        was, said = truth[row, column], prediction[row, column]
        if was in (said, VOID):
            assert (block == block[..., :1]).all()  # grey
        else:
            assert (block == (MISSED if said == 0 else FALSE if was == 0 else CONFUSED)).all()


def test_panels_show_photograph_and_blends() -> None:
    size = (300, 260)  # shown as large as it is
    image, truth, prediction = example(*size)
    sheet = comparison(image, truth, prediction, CLASSES, "heading")
    photograph, shown_truth, shown_prediction, _ = (np.asarray(sheet.crop(box)) for box in panel_boxes(*size, 4))
    assert (photograph == image).all()
    assert (shown_prediction == blend(image, prediction)).all()
    assert (shown_truth == blend(image, truth))[truth != VOID].all()
    assert (shown_truth != image)[truth == VOID].any(axis=-1).mean() > 0.9  # hatched


def test_without_truth_there_are_two_panels_and_no_key_of_errors(lettered: list[str]) -> None:
    image, _, prediction = example(300, 260)
    sheet = comparison(image, None, prediction, CLASSES, "heading")
    box = panel_boxes(300, 260, 2)[1]
    assert (np.asarray(sheet.crop(box)) == blend(image, prediction)).all()
    assert sheet.width == box[2] + overlay.MARGIN
    assert sorted(lettered) == sorted(["heading", "photograph", "prediction", *CLASSES])


def test_legend_names_the_classes_that_occur(lettered: list[str]) -> None:
    image, truth, prediction = np.zeros((9, 9, 3), np.uint8), np.full((9, 9), 3, np.uint8), np.zeros((9, 9), np.uint8)
    errors = list(LEGEND_OF_ERRORS.values())
    comparison(image, truth, prediction, CLASSES, "a")
    assert lettered[:-5] == ["background", "triangle", *errors]  # then heading and captions
    lettered.clear()
    truth[0, 0], truth[1, 1] = VOID, 1
    comparison(image, truth, prediction, CLASSES, "a")
    assert lettered[:-5] == ["background", "disc", "triangle", *errors, LEGEND_OF_VOID]


def test_a_long_legend_goes_on_in_further_lines() -> None:
    image, mask = np.zeros((40, 40, 3), np.uint8), np.arange(1600).reshape(40, 40).astype(np.uint8) % 40
    few = comparison(image, mask % 2, mask % 2, CLASSES, "few")
    many = comparison(image, mask, mask, [f"class number {index}" for index in range(40)], "many " * 100)
    assert many.width == few.width
    assert many.height > few.height + 50
    assert (np.asarray(many)[:, -10:] == 255).all()  # nothing runs over the margin


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (700, 900), (128, 128), (3, 200)])
def test_sheets_of_every_size_are_of_reasonable_size(size: tuple[int, int]) -> None:
    image, truth, prediction = example(*size)
    sheet = comparison(image, truth, prediction, CLASSES, "heading")
    assert max(panel_size(*size)) <= overlay.LONG_SIDE
    assert sheet.width <= 4 * overlay.LONG_SIDE + 100
    assert sheet.height <= overlay.LONG_SIDE + 250


def test_panel_sizes() -> None:
    assert panel_size(128, 128) == (256, 256)
    assert panel_size(96, 128) == (192, 256)
    assert panel_size(375, 500) == (375, 500)
    assert panel_size(1280, 960) == (640, 480)
    assert panel_size(400, 100) == (400, 100)  # three times as wide would be too long


def test_equal_sheets_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "folder/b.png"):
        write_png(tmp_path / name, comparison(*example(50, 60), CLASSES, "heading"))
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "folder" / "b.png").read_bytes()


@settings(max_examples=30, deadline=None)
@given(sizes, seeds)
def test_palette_png_keeps_every_index(
    tmp_path_factory: pytest.TempPathFactory, size: tuple[int, int], seed: int
) -> None:
    mask = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    path = tmp_path_factory.getbasetemp() / "mask.png"
    write_png(path, to_palette_png(mask))
    with Image.open(path) as image:
        assert image.mode == "P"
        assert (np.asarray(image) == mask).all()
        assert (np.asarray(image.convert("RGB")) == voc_palette()[mask]).all()


def test_lettering_is_ascii_and_fits() -> None:
    assert lettering("Bäume \N{EN DASH} été\n第", 14, 1000) == "Baume - ete ?"
    cut = lettering("a name that is far too long", 14, 100)
    assert cut.endswith("...")
    assert cut.startswith("a name")
    assert font(14).getlength(cut) <= 100


def test_unusable_input_is_refused_by_name() -> None:
    image, truth, prediction = example(4, 5)
    with pytest.raises(ValueError, match=r"image is float64 \(4, 5, 3\)"):
        blend(image / 255, truth)
    with pytest.raises(ValueError, match=r"mask is int64"):
        to_palette_png(truth.astype(np.int64))
    with pytest.raises(ValueError, match=r"truth is uint8 \(3, 5\), expected uint8 \(4, 5\)"):
        comparison(image, truth[:3], prediction, CLASSES, "")
    with pytest.raises(ValueError, match=r"truth has the class index 9, expected 0 to 3"):
        comparison(image, np.full_like(truth, 9), prediction, CLASSES, "")
    with pytest.raises(ValueError, match=r"prediction has the class index 255"):
        comparison(image, truth, np.full_like(prediction, VOID), CLASSES, "")
