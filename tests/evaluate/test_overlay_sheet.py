"""Overlay sheets: panels, legend and size, pixel by pixel on images made here."""

import numpy as np
import pytest
from hypothesis import given, settings

from pipeline.data.palette import VOID
from pipeline.evaluate import labels
from pipeline.evaluate import overlay_sheet as module
from pipeline.evaluate.labels import fit_text
from pipeline.evaluate.overlay import CONFUSED, FALSE, MISSED, blend
from pipeline.evaluate.overlay_sheet import ERRORS, LONG_SIDE, MARGIN, VOID_NAME, overlay_sheet, panel_boxes, panel_size
from tests.evaluate.masks import CLASSES, WITH_BACKGROUND, classes, seeds, sizes, triple


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text on the sheets that the test makes, as it is drawn."""
    texts: list[str] = []

    def record(text: str, size: int, width: float) -> str:
        texts.append(fit_text(text, size, width))
        return texts[-1]

    for drawing in (labels, module):
        monkeypatch.setattr(drawing, "fit_text", record)
    return texts


@settings(max_examples=20, deadline=None)
@given(sizes, seeds)
def test_the_error_panel_colours_wrong_pixels_only(size: tuple[int, int], seed: int) -> None:
    image, truth, prediction = triple(*size, seed)
    sheet = overlay_sheet(image, truth, prediction, WITH_BACKGROUND, "heading")
    panel = np.asarray(sheet.crop(panel_boxes(*size, 4)[3]))
    factor = panel.shape[0] // size[0]
    assert panel.shape == (size[0] * factor, size[1] * factor, 3)

    for row, column in np.ndindex(size):
        block = panel[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
        true, predicted = truth[row, column], prediction[row, column]
        if true in (predicted, VOID):
            assert (block == block[..., :1]).all()  # grey
        else:
            assert (block == (MISSED if predicted == 0 else FALSE if true == 0 else CONFUSED)).all()


def test_panels_show_photograph_and_blends() -> None:
    size = (300, 260)  # shown as large as it is
    image, truth, prediction = triple(*size)
    sheet = overlay_sheet(image, truth, prediction, WITH_BACKGROUND, "heading")
    photograph, shown_truth, shown_prediction, _ = (np.asarray(sheet.crop(box)) for box in panel_boxes(*size, 4))
    assert (photograph == image).all()
    assert (shown_prediction == blend(image, prediction, WITH_BACKGROUND)).all()
    assert (shown_truth == blend(image, truth, WITH_BACKGROUND))[truth != VOID].all()
    assert (shown_truth != image)[truth == VOID].any(axis=-1).mean() > 0.9  # hatched


def test_without_truth_there_are_two_panels_and_no_errors(written: list[str]) -> None:
    image, _, prediction = triple(300, 260)
    sheet = overlay_sheet(image, None, prediction, WITH_BACKGROUND, "heading")
    box = panel_boxes(300, 260, 2)[1]
    assert (np.asarray(sheet.crop(box)) == blend(image, prediction, WITH_BACKGROUND)).all()
    assert sheet.width == box[2] + MARGIN
    assert sorted(written) == sorted(["heading", "photograph", "prediction", *CLASSES])


def test_legend_names_the_classes_that_occur(written: list[str]) -> None:
    image, truth, prediction = np.zeros((9, 9, 3), np.uint8), np.full((9, 9), 3, np.uint8), np.zeros((9, 9), np.uint8)
    errors = list(ERRORS.values())
    overlay_sheet(image, truth, prediction, WITH_BACKGROUND, "a")
    assert written[:-5] == ["background", "triangle", *errors]  # then heading and captions
    written.clear()
    truth[0, 0], truth[1, 1] = VOID, 1
    overlay_sheet(image, truth, prediction, WITH_BACKGROUND, "a")
    assert written[:-5] == ["background", "disc", "triangle", *errors, VOID_NAME]


def test_without_a_background_no_object_is_missed_or_false(written: list[str]) -> None:
    image, truth, prediction = np.zeros((9, 9, 3), np.uint8), np.zeros((9, 9), np.uint8), np.ones((9, 9), np.uint8)
    shown = classes(None)
    sheet = overlay_sheet(image, truth, prediction, shown, "a")
    assert written[:-5] == ["background", "disc", "confused class"]
    _, true_panel, predicted_panel, errors = (np.asarray(sheet.crop(box)) for box in panel_boxes(9, 9, 4))
    assert (true_panel == np.rint(np.array(shown.colours[0]) / 2)).all()
    assert (predicted_panel == np.rint(np.array(shown.colours[1]) / 2)).all() and (errors == CONFUSED).all()
    swatches = np.asarray(sheet)[panel_boxes(9, 9, 4)[0][3] :].reshape(-1, 3)
    assert {shown.colours[0], shown.colours[1], CONFUSED} <= {tuple(colour) for colour in swatches.tolist()}


def test_the_swatch_of_the_background_is_empty() -> None:
    image, mask = np.zeros((9, 9, 3), np.uint8), np.full((9, 9), 2, np.uint8)
    mask[0] = 0
    shown = classes(2)
    sheet = overlay_sheet(image, mask, mask, shown, "a")
    swatches = np.asarray(sheet)[panel_boxes(9, 9, 4)[0][3] :].reshape(-1, 3)
    drawn = {tuple(colour) for colour in swatches.tolist()}
    assert shown.colours[0] in drawn and shown.colours[2] == (0, 0, 0) not in drawn


def test_a_long_legend_continues_on_further_lines() -> None:
    image, mask = np.zeros((40, 40, 3), np.uint8), np.arange(1600).reshape(40, 40).astype(np.uint8) % 40
    forty = classes(names=[f"class number {index}" for index in range(40)])
    few = overlay_sheet(image, mask % 2, mask % 2, WITH_BACKGROUND, "few")
    many = overlay_sheet(image, mask, mask, forty, "many " * 100)
    assert many.width == few.width
    assert many.height > few.height + 50
    assert (np.asarray(many)[:, -10:] == 255).all()  # nothing runs over the margin


@pytest.mark.parametrize("size", [(1, 1), (1, 2000), (2000, 1), (700, 900), (128, 128), (3, 200)])
def test_sheets_of_any_image_have_a_reasonable_size(size: tuple[int, int]) -> None:
    image, truth, prediction = triple(*size)
    sheet = overlay_sheet(image, truth, prediction, WITH_BACKGROUND, "heading")
    assert max(panel_size(*size)) <= LONG_SIDE
    assert sheet.width <= 4 * LONG_SIDE + 100
    assert sheet.height <= LONG_SIDE + 250


def test_panel_sizes() -> None:
    assert panel_size(128, 128) == (256, 256)
    assert panel_size(96, 128) == (192, 256)
    assert panel_size(375, 500) == (375, 500)
    assert panel_size(1280, 960) == (640, 480)
    assert panel_size(400, 100) == (400, 100)  # three times as wide would be too long


def test_unusable_masks_are_refused_by_name() -> None:
    image, truth, prediction = triple(4, 5)
    with pytest.raises(ValueError, match=r"truth is uint8 \(3, 5\), expected uint8 \(4, 5\)"):
        overlay_sheet(image, truth[:3], prediction, WITH_BACKGROUND, "")
    with pytest.raises(ValueError, match=r"truth has the class index 9, expected 0 to 3"):
        overlay_sheet(image, np.full_like(truth, 9), prediction, WITH_BACKGROUND, "")
    with pytest.raises(ValueError, match=r"prediction has the class index 255"):
        overlay_sheet(image, truth, np.full_like(prediction, VOID), WITH_BACKGROUND, "")
