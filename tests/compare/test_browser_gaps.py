"""Pages in a real browser of runs that lack something: predictions, a background, more than one test image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.compare.analysis import Analysis, Differences
from pipeline.compare.examples import compare_image
from pipeline.compare.page.page import page as page_of
from pipeline.compare.runs import ComparedRun
from pipeline.compare.selection import ComparedImages
from pipeline.data.classes import Classes
from pipeline.data.palette import VOID, class_colours
from pipeline.data.pixels import PixelRules
from pipeline.data.voc import Example
from pipeline.evaluate.overlay import CONFUSED, FALSE, MISSED
from tests.compare.store import HOSTILE

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By

from tests.compare.browser import CHROMIUM, DRIVER, Page

pytestmark = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()), reason="no Chromium at /usr/bin/chromium with its chromedriver"
)


def test_without_predictions_the_page_has_a_table_and_no_grid(driver: Any, tmp_path: Path) -> None:
    runs = [ComparedRun("1", "one", "RUNNING", {}, {}), ComparedRun("2", "two", "FAILED", {}, {}, failure="of memory")]
    analysis = Analysis(HOSTILE, runs, ["one", "two"], [], None, "", [], {}, notes=[HOSTILE])
    (tmp_path / "page.html").write_text(page_of(analysis), encoding="utf-8")
    driver.get_log("browser")
    driver.get((tmp_path / "page.html").as_uri())
    assert [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert not driver.find_element(By.ID, "workbench").is_displayed()
    assert driver.find_element(By.ID, "no-images").is_displayed()
    assert driver.find_element(By.ID, "note-list").text == HOSTILE
    assert len(driver.find_elements(By.CSS_SELECTOR, "#run-table tbody tr")) == 2


def test_a_single_image_gives_differences_without_intervals(driver: Any, tmp_path: Path) -> None:
    runs = [ComparedRun(str(place), f"run {place}", "FINISHED", {}, {}) for place in range(3)]
    difference, ends = np.array([[0.0, 0], [-0.25, 0.125], [np.nan, 0]]), np.full((3, 2), np.nan)
    analysis = Analysis(
        "one image", runs, ["a", "b", "c"], [], runs[0], "python run.py rerun=0", [], {},
        classes=Classes(("x",), None, tuple(class_colours(1, None))),
        differences=Differences(1, [0, 1, 2], difference, ends, ends),
    )  # fmt: skip
    (tmp_path / "page.html").write_text(page_of(analysis), encoding="utf-8")
    driver.get_log("browser")
    driver.get((tmp_path / "page.html").as_uri())
    (chart,) = driver.execute_script("return document.getElementById('differences').data")
    panel = driver.execute_script(
        "return getComputedStyle(document.documentElement).getPropertyValue('--panel').trim()"
    )
    assert (chart["x"], chart["text"], chart["marker"]["color"]) == ([-0.25], ["b<br>-0.2500"], [panel])
    assert driver.find_element(By.ID, "differences-caption").text == "Difference from the best run on 1 test image"
    column = [head.text for head in driver.find_elements(By.CSS_SELECTOR, "#run-table th")].index("difference")
    rows = driver.find_elements(By.CSS_SELECTOR, "#run-table tbody tr")
    shown = [row.find_elements(By.CSS_SELECTOR, "td")[column].text for row in rows]
    assert shown == ["\N{EN DASH}", "\N{MINUS SIGN}0.250", "\N{EN DASH}"]
    assert [entry["message"] for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("background", [None, 2])
def test_a_background_is_the_one_named_or_none(driver: Any, tmp_path: Path, background: int | None) -> None:
    true = np.repeat(np.array([[0, 0, 0, 1, 2, 2, VOID]], np.uint8), 4, axis=0)
    mask = np.repeat(np.array([[0, 1, 2, 1, 2, 0, 0]], np.uint8), 4, axis=0)
    Image.fromarray(true).save(tmp_path / "mask.png")
    image = compare_image(
        "a", Example("a", tmp_path / "no.jpg", tmp_path / "mask.png"), {0: [mask]}, 3, 0.0, PixelRules()
    )
    classes = Classes(("road", "sky", "car"), background, tuple(class_colours(3, background)))
    analysis = Analysis(
        "streets", [ComparedRun("1", "one", "FINISHED", {}, {})], ["one"], [], None, "", [], {},
        classes=classes, columns=[0], images=ComparedImages(test=[image], scored_runs=[0]),
    )  # fmt: skip
    (tmp_path / "page.html").write_text(page_of(analysis), encoding="utf-8")
    page = Page(driver, tmp_path / "page.html")

    drawn = page.canvas("a", 0)  # without a photograph, the prediction is opaque
    for index, colour in enumerate(classes.colours):
        expected = [0, 0, 0, 0] if index == background else [*colour, 255]
        assert (drawn[mask == index] == expected).all()
    page.set("[data-layer=prediction] input[type=range]", 0)
    page.set("[data-layer=errors] input[type=range]", 100)
    drawn = page.canvas("a", 0)
    assert drawn[0, :, 3].tolist() == [0, 255, 255, 0, 0, 255, 0]
    kinds = [CONFUSED, CONFUSED, CONFUSED] if background is None else [CONFUSED, MISSED, FALSE]
    assert list(map(tuple, drawn[0, [1, 2, 5], :3].tolist())) == kinds
    named = [kind.text for kind in page.all("#errors span")]
    assert named == (["confused class"] if background is None else ["missed object", "false object", "confused class"])
