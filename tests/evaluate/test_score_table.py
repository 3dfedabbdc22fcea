"""The table of scores at the end of a run."""

import io
import re

import numpy as np
from rich.console import Console

from pipeline.evaluate.metrics import Scores
from pipeline.evaluate.report import score_table

MATRIX = np.array([[6, 2, 0], [1, 3, 0], [0, 0, 0]], np.int64)


def _rendered(table: object, width: int = 80) -> str:
    screen = io.StringIO()
    Console(file=screen, width=width, markup=False, emoji=False).print(table)
    return screen.getvalue()


def test_the_table_has_a_row_for_each_class_and_a_dash_for_a_score_that_does_not_exist() -> None:
    scores = {"val": Scores(np.eye(3, dtype=np.int64), 0.25), "test": Scores(MATRIX, 0.5)}
    rows = [
        re.findall(r"[^│┃\s][^│┃]*", line)
        for line in _rendered(score_table(["g", "[b]:car:", "Büsche"], scores)).splitlines()
    ]
    cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows if len(row) > 2}
    assert cells["class"] == ["val IoU", "test IoU", "test accuracy"]
    assert cells["g"] == ["1.0000", "0.6667", "0.7500"]
    assert cells["[b]:car:"] == ["1.0000", "0.5000", "0.7500"]
    assert cells["Büsche"] == ["1.0000", "-", "-"]
    assert cells["mean"] == ["1.0000", "0.5833", "0.7500 (pixels)"]
    assert cells["loss"] == ["0.2500", "0.5000"] and "nan" not in str(cells)
