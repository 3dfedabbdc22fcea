"""Mean entropy and confidence of an image, and the ranking by them."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.predict.doubt import Doubt, doubt, write_doubts


def test_entropy_and_confidence_by_hand() -> None:
    """One pixel is certain, one undecided between two classes, two have no idea among four."""
    pixels = [[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0.25] * 4, [0.25] * 4]
    found = doubt("a.png", np.array(pixels, np.float32).reshape(2, 2, 4))
    assert found.entropy == pytest.approx((0 + math.log(2) + 2 * math.log(4)) / 4)
    assert found.confidence == pytest.approx((1 + 0.5 + 0.25 + 0.25) / 4)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("height", [1, 63, 64, 65, 200])
def test_bands_of_rows_make_no_difference(height: int) -> None:
    rng = np.random.default_rng(height)
    probabilities = rng.dirichlet(np.full(5, 0.05), (height, 9)).astype(np.float32)  # many are 0
    exact = probabilities.astype(np.float64)
    terms = np.where(exact > 0, exact * np.log(np.where(exact > 0, exact, 1)), 0)
    assert doubt("a", probabilities).entropy == pytest.approx(-terms.sum() / (height * 9), rel=1e-5)


def test_the_most_uncertain_image_is_first(tmp_path: Path) -> None:
    doubts = [Doubt("b", 0.5, 0.8), Doubt("c", 1.5, 0.4), Doubt("a", 0.5, 0.7)]
    write_doubts(tmp_path / "doubt.csv", doubts)
    with (tmp_path / "doubt.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["c", "a", "b"]
    assert rows[0] == {"image": "c", "mean_entropy_nats": "1.5", "mean_confidence": "0.4"}
