"""The page in a real browser, opened from its file: clicks, and the pixels that result."""

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.data.palette import VOID, voc_palette
from pipeline.evaluate.overlay import MISSED
from tests.compare.store import CLASSES, HOSTILE, Sweep, predicted, truth

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.compare.browser import CHROMIUM, DRIVER, Page, colours, wrong_rows

pytestmark = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()), reason="no Chromium at /usr/bin/chromium with its chromedriver"
)


@pytest.fixture
def page(driver: Any, sweep: Sweep) -> Page:
    return Page(driver, sweep.page)


# ---- the page as a whole


def test_the_page_loads_nothing_and_runs_only_its_own_scripts(page: Page) -> None:
    loaded = page.driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert [name for name in loaded if not name.startswith(("data:", "blob:"))] == []
    assert page.driver.execute_script("return window.broken") is None
    assert [entry["message"] for entry in page.driver.get_log("browser") if entry["level"] == "SEVERE"] == []
    assert page.find("#title").text == f"sweep {HOSTILE}"
    assert len(page.all("#run-table tbody tr")) == 6 and len(page.all(".js-plotly-plot")) == 5


def test_an_injected_script_does_not_run(page: Page) -> None:
    """The browser enforces the page's policy."""
    page.driver.execute_script(
        "const made = document.createElement('script'); made.textContent = 'window.broken = true';"
        "document.body.append(made); const image = document.createElement('div');"
        "image.innerHTML = '<img src=x onerror=\"window.broken = true\">'; document.body.append(image)"
    )
    page.driver.execute_async_script("setTimeout(arguments[0], 200)")
    assert page.driver.execute_script("return window.broken") is None
    page.driver.get_log("browser")  # discards the violations


def test_names_are_shown_as_they_are(page: Page) -> None:
    assert [chip.get_attribute("title") for chip in page.all("#classes .chip")] == [*CLASSES, "void"]
    cells = [cell.text for cell in page.all("#run-table tbody tr:first-child td")]
    assert f"run {HOSTILE}" in cells
    drawn = page.driver.execute_script("return document.getElementById('per-class').textContent")
    assert CLASSES[2] in drawn and "</script>" in drawn
    page.set("#class-score", "boundary IoU")
    drawn = page.driver.execute_script("return document.getElementById('per-class').data.at(-1).x")
    shown = {cell.text for cell in page.all("#run-table th, #run-table td")}
    assert drawn == [0.45, 0.45, None] and {"Dice", "0.8500", "boundary IoU", "0.4500"} <= shown


# ---- the grid


def test_predicted_pixels_have_the_colours_of_their_classes(page: Page, sweep: Sweep) -> None:
    page.masks_only()
    for image in ("test_0", "test_3"):
        for column in range(4):
            mask = predicted(sweep.root, image, wrong_rows(sweep, image, column))
            np.testing.assert_array_equal(page.canvas(image, column), colours(mask))
    assert page.find("[data-image=test_0] .cell:last-child .missing").text == "no test prediction"  # the pruned run


def test_a_class_can_be_hidden_in_all_cells(page: Page, sweep: Sweep) -> None:
    page.masks_only()
    page.click(".chip[data-class='1']")
    for column in (0, 3):
        mask = predicted(sweep.root, "test_1", wrong_rows(sweep, "test_1", column))
        np.testing.assert_array_equal(page.canvas("test_1", column), colours(mask, shown=(2,)))
    assert page.find(".chip[data-class='1']").get_attribute("aria-pressed") == "false"
    page.click("#all-classes")
    mask = predicted(sweep.root, "test_1", wrong_rows(sweep, "test_1", 0))
    np.testing.assert_array_equal(page.canvas("test_1", 0), colours(mask, shown=(0, 1, 2)))


def test_the_error_layer_shows_missed_objects_but_no_void(page: Page, sweep: Sweep) -> None:
    page.masks_only()
    page.set("[data-layer=prediction] input[type=range]", 0)
    page.set("[data-layer=errors] input[type=range]", 100)
    true, mask = truth(sweep.root, "test_2"), predicted(sweep.root, "test_2", wrong_rows(sweep, "test_2", 3))
    missed = (true != VOID) & (true != 0) & (mask == 0)
    assert missed.any() and (true == VOID).any()
    drawn = page.canvas("test_2", 3)
    np.testing.assert_array_equal(drawn[..., 3] > 0, missed)
    assert (drawn[missed][:, :3] == MISSED).all()


def test_one_slider_moves_all_cells_to_another_epoch(page: Page, sweep: Sweep) -> None:
    page.masks_only()
    page.click("#split [data-value=val]")
    for place, epoch in enumerate((1, 2, 3)):
        page.set("#epoch", place)
        assert page.find("#epoch-shown").text == f"{epoch} of 3"
        for column, rows in ((0, 2), (3, 8)):
            mask = predicted(sweep.root, "val_1", rows + 2 * (3 - epoch))
            np.testing.assert_array_equal(page.canvas("val_1", column), colours(mask))
    heads = [head.text.split()[-1] for head in page.all(".column-head .scores")]
    assert heads[1:4] == ["0.8000", "0.7000", "0.5000"]
    page.find("#sheet").send_keys("[")
    page.settle()
    assert page.find("#epoch-shown").text == "2 of 3"


def test_all_cells_have_the_same_zoom_and_crisp_pixels(page: Page) -> None:
    for _ in range(3):
        page.find("#zoom-in").click()
    transforms = page.driver.execute_script(
        "return [...document.querySelectorAll('canvas[data-image]')].map((canvas) => {"
        "const style = getComputedStyle(canvas), box = canvas.parentElement.getBoundingClientRect();"
        "const matrix = new DOMMatrix(style.transform);"
        "return [matrix.a, -matrix.e / box.width / matrix.a, -matrix.f / box.height / matrix.a, style.imageRendering]})"
    )
    assert len(transforms) > 20
    for zoom, x, y, rendering in transforms:
        assert (zoom, rendering) == (pytest.approx(3.375), "pixelated")
        assert (x, y) == (pytest.approx(0.5 - 0.5 / 3.375, abs=1e-3), pytest.approx(0.5 - 0.5 / 3.375, abs=1e-3))
    page.find("#sheet").send_keys(Keys.ARROW_RIGHT)
    assert page.driver.execute_script("return Number(sheet.style.getPropertyValue('--x'))") > 0.36
    view = page.find("[data-image=test_0] .cell .view")
    ActionChains(page.driver).move_to_element(view).click_and_hold().move_by_offset(400, 0).release().perform()
    assert page.driver.execute_script("return Number(sheet.style.getPropertyValue('--x'))") == 0
    page.click("#zoom-reset")
    assert page.find("#zoom-shown").text == "1\N{MULTIPLICATION SIGN}"


def test_a_zoomed_cell_does_not_blend_pixels(page: Page) -> None:
    page.masks_only()
    for _ in range(4):
        page.find("#zoom-in").click()
    page.settle()
    cell = Image.open(io.BytesIO(page.find("[data-image=test_0] .cell .view").screenshot_as_png)).convert("RGB")
    inner = np.asarray(cell)[8:-8, 8:-8].reshape(-1, 3)
    found = {tuple(colour) for colour in inner.tolist()}
    assert found <= {tuple(voc_palette()[1].tolist()), tuple(voc_palette()[2].tolist()), (236, 236, 234)}
    assert len(found) > 1


def test_wiping_shows_one_run_on_each_side_of_the_divider(page: Page, sweep: Sweep) -> None:
    page.masks_only()
    page.click("#view [data-value=wipe]")
    page.set("#run-b", 3)
    view = page.find("[data-image=test_2] .view:has(.divider)")
    page.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", view)
    page.settle()
    line = view.find_element(By.CSS_SELECTOR, ".divider")
    width = view.size["width"]
    ActionChains(page.driver).click_and_hold(line).move_by_offset(-width // 4, 0).release().perform()
    assert line.get_attribute("aria-valuenow") == "25"
    line.send_keys(Keys.ARROW_RIGHT)
    assert line.get_attribute("aria-valuenow") == "27"
    page.driver.execute_script("document.querySelectorAll('.divider, .tag').forEach((part) => part.remove())")

    shown = np.asarray(Image.open(io.BytesIO(view.screenshot_as_png)).convert("RGB"))
    a, b = (predicted(sweep.root, "test_2", wrong_rows(sweep, "test_2", column)) for column in (0, 3))
    assert (a != b).any()
    height, width = a.shape
    for row in range(2, height - 2):
        for column in range(2, width - 2):
            if abs(column - 0.27 * width) > 2:
                y, x = int((row + 0.5) * shown.shape[0] / height), int((column + 0.5) * shown.shape[1] / width)
                label = (a if column < 0.27 * width else b)[row, column]
                # Where B predicts background, the page's background is visible, and not A.
                expected = voc_palette()[label].tolist() if label else [236, 236, 234]
                assert shown[y, x].tolist() == expected, (row, column)


def test_blinking_shows_one_run_at_a_time(page: Page) -> None:
    sheet = page.find("#sheet")
    sheet.send_keys("b")
    sheet.send_keys(" ")  # stops, and shows the other run
    page.settle()
    assert page.find("#blink-run").text == "Blink"
    seen = []
    for _ in range(2):
        seen.append([page.find(f".blink-{run}").value_of_css_property("visibility") for run in "ab"])
        sheet.send_keys(" ")
    assert sorted(seen) == [["hidden", "visible"], ["visible", "hidden"]]


def test_rows_are_sorted_by_the_gap_of_the_chosen_class(page: Page) -> None:
    data = page.driver.execute_script("return JSON.parse(document.getElementById('data').textContent)")

    def gaps(place: int) -> dict[str, float]:
        found = {}
        for image in data["test"]:
            ious = [ious[place] for ious in image["ious"]["0"] if ious[place] is not None]
            found[image["id"]] = max(ious) - min(ious)
        return found

    for value, place in ((-1, 0), (2, 3)):
        page.set("#filter", value)
        shown = [row.get_attribute("data-image") for row in page.all("#rows .row")]
        of = gaps(place)
        assert shown == sorted(of, key=lambda image_id: (-of[image_id], image_id))
    page.set("#sort", "name")
    assert [row.get_attribute("data-image") for row in page.all("#rows .row")] == [f"test_{n}" for n in range(4)]


# ---- the table and the theme


def test_the_table_sorts_by_a_click_and_hides_runs_in_the_grid(page: Page) -> None:
    def column(number: int) -> list[str]:
        return [cell.text for cell in page.all(f"#run-table tbody td:nth-child({number})")]

    heads = [head.text for head in page.all("#run-table th")]
    seed = heads.index("seed") + 1
    page.click(f"#run-table th:nth-child({seed}) button")
    assert column(seed) == sorted(column(seed)) and len(set(column(seed))) == 2
    page.click(f"#run-table th:nth-child({seed}) button")
    assert column(seed) == sorted(column(seed), reverse=True)
    assert page.find(f"#run-table th:nth-child({seed})").get_attribute("aria-sort") == "descending"
    assert len(page.all(".column-head")) == 5
    page.click("#run-table tr.best input")
    assert len(page.all(".column-head")) == 4 and page.all(".column-head .badge") == []
    assert not page.driver.find_elements(By.CSS_SELECTOR, "canvas[data-column='0']")


def test_light_and_dark(page: Page) -> None:
    body, seen = page.find("body"), set()
    for _ in range(2):
        page.find("#theme").click()
        seen.add((body.value_of_css_property("background-color"), body.value_of_css_property("color")))
    assert len(seen) == 2 and json.dumps(sorted(seen)).count("rgba(") == 4
