"""The sheet of training crops: what is written on it, and which pixels show the crops."""

import numpy as np
import pytest

from pipeline.data.classes import Classes
from pipeline.data.crops import TrainingCrops
from pipeline.data.palette import VOID
from pipeline.data.prepare import prepare_dataset
from pipeline.evaluate.crop_sheet import GAP, MARGIN, PANEL, class_rows, crop_sheet, describe, describe_sizes, percent
from tests.data.folders import Folder, folder_config


def crops(count: int, mask: int) -> TrainingCrops:
    """Grey crops of 4 pixels a side, of one class or void throughout."""
    pixels = np.array([[16 * (mask == index) for index in range(3)]] * count)
    void = np.full(count, 16 * (mask == VOID))
    return TrainingCrops(np.full((count, 4, 4, 3), 90, np.uint8), np.full((count, 4, 4), mask, np.uint8), pixels, void)


@pytest.mark.parametrize(
    ("share", "text"), [(0, "0.00 %"), (1e-6, "< 0.01 %"), (0.00123, "0.12 %"), (0.5, "50.0 %"), (1, "100.0 %")]
)
def test_small_shares_do_not_look_like_zero(share: float, text: str) -> None:
    assert percent(share) == text


def test_sizes_are_described_width_first() -> None:
    assert describe_sizes(np.array([[30, 40]] * 3)) == "all 40x30 px"
    several = np.array([[30, 40], [10, 20], [30, 40], [50, 60]])
    assert describe_sizes(several) == "3 sizes from 20x10 to 60x50 px, most often 40x30 (2 of 4)"


def test_a_row_says_what_images_and_crops_hold() -> None:
    classes = Classes(("a", "b", "c"), None, ((1, 1, 1), (2, 2, 2), (3, 3, 3)))
    rows = class_rows(crops(2, mask=1), classes, np.array([[30, 10, 0], [60, 0, 0]]))
    assert rows[0] == (0, ["a", "2", "90.0 %", "0.00 %", "0.00 %"])
    assert rows[1] == (1, ["b", "1", "10.0 %", "100.0 %", "100.0 %"])
    assert rows[2] == (2, ["c", "0", "0.00 %", "0.00 %", "0.00 %"])


def test_crops_stand_next_to_their_masks(voc_folder: Folder) -> None:
    config = folder_config(voc_folder())
    dataset = prepare_dataset(config)
    sheet = np.asarray(crop_sheet(crops(4, mask=1), dataset, config))
    top = MARGIN + 30 + 40  # below the heading and two notes
    crop, over = sheet[top:, MARGIN:], sheet[top:, MARGIN + PANEL + GAP // 2 :]
    assert (crop[:PANEL, :PANEL] == 90).all()
    red = Classes.of(config.dataset).palette[1]
    assert (over[:PANEL, :PANEL] == np.rint((90 + red.astype(float)) / 2)).all()
    assert (crop[PANEL + 2 * GAP :][:PANEL, :PANEL] == 90).all()  # the fourth, in the second line
    assert describe(crops(4, mask=VOID), dataset, config) == [
        "4 train, 2 val, 2 test images; training images: all 32x24 px",
        "the first 4 of 4 crops that were counted; void is 100.0 % of the crops' pixels",
    ]
    hatched = np.asarray(crop_sheet(crops(1, mask=VOID), dataset, config))[top:, MARGIN + PANEL + GAP // 2 :]
    assert len(np.unique(hatched[:PANEL, :PANEL])) == 2
