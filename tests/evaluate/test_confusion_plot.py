"""The image of a confusion matrix: colours by share, grey for classes without truth, any number of classes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pipeline.evaluate import confusion_plot
from pipeline.evaluate.confusion_plot import BLUES, NO_PIXELS, confusion_image


def names(count: int) -> list[str]:
    return [f"class {index}" for index in range(count)]


def grey_pixels(image: Image.Image) -> int:
    return int((np.asarray(image) == NO_PIXELS).all(axis=2).sum())


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every horizontal text of the images made in the test."""
    texts: list[str] = []
    write = confusion_plot._write

    def note(draw: object, at: object, text: str, *rest: object, **named: object) -> None:
        texts.append(text)
        write(draw, at, text, *rest, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(confusion_plot, "_write", note)
    return texts


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 8), st.integers(0, 2**32 - 1))
def test_any_matrix_gives_an_image_and_equal_ones_equal_images(count: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).integers(0, 2, (count, count), dtype=np.int64) * 10**12
    image = confusion_image(matrix, names(count))
    assert image.mode == "RGB"
    assert image.tobytes() == confusion_image(matrix, names(count)).tobytes()


def test_percentages_and_ious_by_hand(written: list[str]) -> None:
    confusion_image(np.array([[3, 1], [0, 4]]), ["background", "tumour"])
    assert written.count("75.0") == 2  # 3 of 4 background pixels; IoU of background 3 / (4 + 3 - 3)
    assert written.count("25.0") == 1
    assert written.count("100.0") == 1
    assert written.count("80.0") == 1  # IoU of tumour 4 / (4 + 5 - 4)
    assert "0.0" not in written
    assert {"background", "tumour", "predicted class"} <= set(written)


def test_class_without_truth_is_grey_with_a_dash_and_its_iou_tells_whether_it_was_predicted(written: list[str]) -> None:
    image = confusion_image(np.array([[5, 1, 0], [0, 0, 0], [0, 0, 0]]), names(3))
    assert grey_pixels(image) > 6 * 110**2  # six cells
    assert written.count("-") == 2 * 3 + 1  # two rows, and the IoU of the class that was not predicted either
    assert written.count("0.0") == 1  # predicted but never true


def test_no_grey_where_every_class_has_pixels() -> None:
    image = confusion_image(np.eye(3, dtype=np.int64), names(3))
    assert grey_pixels(image) < 100  # the soft edges of letters have every grey


def test_matrix_of_nothing_is_all_grey() -> None:
    image = confusion_image(np.zeros((2, 2), np.int64), names(2))
    assert grey_pixels(image) > 4 * 110**2


def test_full_and_empty_cells_have_the_ends_of_the_colour_scale() -> None:
    count = 40  # cells without text
    image = np.asarray(confusion_image(np.eye(count, dtype=np.int64), names(count)))
    cell = confusion_plot.SMALLEST_CELL
    dark = np.argwhere((image == BLUES[-1]).all(axis=2))
    top, left = dark.min(axis=0)
    cells = image[top : top + count * cell, left : left + count * cell][cell // 2 :: cell, cell // 2 :: cell]
    assert (cells == np.where(np.eye(count, dtype=bool)[..., None], BLUES[-1], BLUES[0])).all()


def test_colour_scale_darkens_at_every_step() -> None:
    shades = [confusion_plot._luminance(confusion_plot._blue(share)) for share in np.linspace(0, 1, 65)]
    assert (np.diff(shades) < 0).all()


@pytest.mark.parametrize("count", [1, 2, 21, 40])
def test_any_number_of_classes_fits(count: int, written: list[str]) -> None:
    image = confusion_image(np.full((count, count), 7, np.int64), names(count))
    assert set(names(count)) <= set(written)
    assert max(image.size) < 1500
    frame = np.asarray(image).copy()
    frame[8:-8, 8:-8] = 255
    assert (frame == 255).all()  # nothing runs out of the image


def test_long_and_foreign_names_are_cut_to_their_space(written: list[str]) -> None:
    image = confusion_image(np.eye(2, dtype=np.int64), ["long name " * 30, "Gebäude 建物"])
    assert image.width < 900
    assert any(text.endswith("...") for text in written)
    assert "Gebaude ??" in written


@pytest.mark.parametrize(
    ("matrix", "complaint"),
    [
        (np.zeros((2, 3), np.int64), r"int64 \(2, 3\), expected integers \(2, 2\)"),
        (np.zeros((3, 3), np.int64), r"2 classes"),
        (np.zeros((2, 2), np.float32), r"float32"),
        (np.array([[1, -4], [0, 0]]), r"-4"),
    ],
)
def test_what_is_no_confusion_matrix_is_refused(matrix: np.ndarray, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        confusion_image(matrix, names(2))
