"""The confusion matrix as an image: percentages, IoUs, absent classes, any number of classes, any names."""

from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from pipeline.evaluate import figures
from pipeline.evaluate.confusion_plot import COLOURS, LONGEST_NAME, confusion_figure, confusion_image
from pipeline.evaluate.figures import FAINT_INK, INK, drawable, figure_style
from pipeline.evaluate.overlay import write_png

HOSTILE = "$\\frac{1}{0$ \n\x1b[2J \u202e <b>&amp;</b>"


def names(count: int) -> list[str]:
    return [f"class {index}" for index in range(count)]


def figure_of(matrix: np.ndarray, classes: list[str]) -> Figure:
    with figure_style():
        return confusion_figure(matrix, classes)


def texts(axes: Axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 6), st.integers(0, 2**32 - 1))
def test_equal_matrices_give_equal_images(count: int, seed: int) -> None:
    matrix = np.random.default_rng(seed).integers(0, 2, (count, count), dtype=np.int64) * 10**12
    image = confusion_image(matrix, names(count))
    assert image.mode == "RGB"
    assert image.tobytes() == confusion_image(matrix, names(count)).tobytes()


def test_equal_matrices_give_equal_files_without_metadata(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        write_png(tmp_path / name, confusion_image(np.eye(3, dtype=np.int64), names(3)))
    content = (tmp_path / "a.png").read_bytes()
    assert content == (tmp_path / "b.png").read_bytes()
    assert not any(chunk in content for chunk in (b"tEXt", b"tIME", b"iTXt", b"Matplotlib", b"Software"))


def test_settings_of_the_user_change_nothing() -> None:
    matrix = np.array([[3, 1], [0, 4]])
    expected = confusion_image(matrix, names(2)).tobytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "image.origin": "lower"}):
        assert confusion_image(matrix, names(2)).tobytes() == expected
        assert matplotlib.rcParams["font.size"] == 30


def test_percentages_and_ious_by_hand() -> None:
    figure = figure_of(np.array([[3, 1], [0, 4]]), ["background", "tumour"])
    matrix, bars, _ = figure.axes
    cells = {text.get_position(): text.get_text() for text in matrix.texts[:-1]}  # the last one is the subtitle
    assert cells == {(0, 0): "75.0", (1, 0): "25.0", (1, 1): "100.0"}  # (column, row); nothing where it is 0
    np.testing.assert_allclose(matrix.images[0].get_array(), [[0.75, 0.25], [0, 1]])
    assert [label.get_text() for label in matrix.get_yticklabels()] == ["background", "tumour"]
    assert [label.get_text() for label in matrix.get_xticklabels()] == ["background", "tumour"]
    assert (matrix.get_ylabel(), matrix.get_xlabel()) == ("true class", "predicted class")
    assert texts(bars) == ["75.0", "80.0"]  # 3 / (4 + 3 - 3) and 4 / (4 + 5 - 4)
    assert [bar.get_width() for bar in bars.patches[2:]] == [0.75, 0.8]
    assert "mean 77.5" in bars.get_title(loc="left")


def test_rows_stand_next_to_their_ious() -> None:
    matrix, bars, _ = figure_of(np.eye(5, dtype=np.int64), names(5)).axes
    assert matrix.get_ylim() == bars.get_ylim() == (4.5, -0.5)
    assert matrix.get_position().y0 == bars.get_position().y0 and matrix.get_position().y1 == bars.get_position().y1


def test_a_class_without_true_pixels_is_marked() -> None:
    """Its IoU says whether it was predicted."""
    counts = np.array([[5, 1, 0], [0, 0, 0], [0, 0, 0]])
    matrix, bars, _ = figure_of(counts, names(3)).axes
    assert np.ma.getmaskarray(matrix.images[0].get_array()).tolist() == [[False] * 3, [True] * 3, [True] * 3]
    assert [to_hex(label.get_color()) for label in matrix.get_yticklabels()] == [INK, FAINT_INK, FAINT_INK]
    assert "grey: class without true pixels" in texts(matrix)[-1]
    assert texts(bars) == ["83.3", "0.0", "-"]
    grey = np.rint(255 * np.array(COLOURS.get_bad()[:3]))
    assert (np.asarray(confusion_image(counts, names(3))) == grey).all(axis=2).sum() > 6 * 100**2  # six cells


def test_no_grey_where_every_class_has_pixels() -> None:
    matrix, *_ = figure_of(np.eye(3, dtype=np.int64), names(3)).axes
    assert not np.ma.getmaskarray(matrix.images[0].get_array()).any()
    assert "grey" not in texts(matrix)[-1]


def test_a_matrix_without_pixels_is_all_grey() -> None:
    matrix, bars, _ = figure_of(np.zeros((2, 2), np.int64), names(2)).axes
    assert np.ma.getmaskarray(matrix.images[0].get_array()).all()
    assert texts(bars) == ["-", "-"]


def test_cells_have_the_colours_of_their_shares() -> None:
    count, cell = 40, 19  # cells without text
    image = np.asarray(confusion_image(np.eye(count, dtype=np.int64), names(count)))
    dark = np.argwhere((image == np.rint(255 * np.array(COLOURS(1.0)[:3]))).all(axis=2))
    dark = dark[dark[:, 1] < dark[:, 1].min() + count * cell]  # not the colour scale, which is to the right
    top, left = dark.min(axis=0)
    cells = image[top : top + count * cell, left : left + count * cell][cell // 2 :: cell, cell // 2 :: cell]
    expected = np.rint(255 * COLOURS(np.eye(count))[..., :3])
    np.testing.assert_array_equal(cells, expected)
    np.testing.assert_array_equal(expected[0, 1], 255)  # an empty cell is white


def test_colours_darken_with_the_share() -> None:
    luma = COLOURS(np.linspace(0, 1, 65))[:, :3] @ [0.299, 0.587, 0.114]  # ITU-R BT.601
    assert (np.diff(luma) < 0).all()


@pytest.mark.parametrize(("count", "text"), [(2, "50.0"), (21, "5"), (31, "3"), (32, None), (40, None)])
def test_percentages_appear_where_they_fit(count: int, text: str | None) -> None:
    matrix, *_ = figure_of(np.full((count, count), 7, np.int64), names(count)).axes
    assert set(texts(matrix)[:-1]) == ({text} if text else set())


@pytest.mark.parametrize("count", [2, 3, 8, 21, 60, 255])
def test_any_number_of_classes_fits(count: int) -> None:
    image = confusion_image(np.full((count, count), 7, np.int64), names(count))
    assert max(image.size) < max(1400, 16 * count)
    frame = np.asarray(image).copy()
    frame[24:-24, 24:-24] = 255
    assert (frame == 255).all()  # nothing is cut off at the border


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", [HOSTILE, "建物", "W" * 500, "", " \t ", "e\u0301" * 40, "\ud800", "$" * 27])
def test_any_name_can_be_drawn_and_fits(name: str) -> None:
    image = confusion_image(np.eye(2, dtype=np.int64), ["background", name])
    frame = np.asarray(image).copy()
    frame[24:-24, 24:-24] = 255
    assert (frame == 255).all()


def test_names_are_text_and_never_formulas() -> None:
    matrix, *_ = figure_of(np.eye(2, dtype=np.int64), ["$x^2$", "b"]).axes
    assert matrix.get_yticklabels()[0].get_text() == "$x^2$" and not matrix.get_yticklabels()[0].get_parse_math()


def test_drawable_names_are_one_short_line() -> None:
    assert drawable("  Gebäude\n\t крест ", 28) == "Gebäude крест"
    assert drawable("e\u0301t\u00e9", 28) == "été"
    assert drawable("建物 \x1b[2J\u202e", 28) == "?? ?[2J?"
    assert drawable("a" * 60, 28) == "a" * 27 + "…" and drawable("a" * 28, 28) == "a" * 28
    assert ord("…") in figures._characters()


def test_a_name_that_cannot_be_drawn_has_its_index() -> None:
    matrix, *_ = figure_of(np.eye(3, dtype=np.int64), ["background", "建物", "what?"]).axes
    assert [label.get_text() for label in matrix.get_yticklabels()] == ["background", "1: ??", "what?"]
    assert all(len(label.get_text()) <= LONGEST_NAME for label in matrix.get_xticklabels())


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
