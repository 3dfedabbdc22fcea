"""The page of a comparison in a browser, as tests use it."""

from pathlib import Path
from typing import Any

import numpy as np
from selenium import webdriver
from selenium.webdriver.common.by import By

from pipeline.data.palette import voc_palette
from tests.compare.store import Sweep

SETTLED = """
const done = arguments[0], sheet = document.getElementById("sheet");
const look = () => (sheet.dataset.busy === "0" ? done() : requestAnimationFrame(look));
requestAnimationFrame(() => requestAnimationFrame(look));
"""


CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1500,1100",
    "--force-color-profile=srgb",
)  # fmt: skip


def chromium(profile: Path) -> Any:
    """A headless Chromium with a profile of its own, whose console is logged."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(DRIVER)))
    driver.set_script_timeout(60)
    return driver


class Page:
    """The page, with the actions and queries of the tests."""

    def __init__(self, driver: Any, path: Path) -> None:
        self.driver = driver
        driver.get(path.as_uri())
        self.settle()

    def settle(self) -> None:
        self.driver.execute_async_script(SETTLED)

    def find(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def click(self, *selectors: str) -> None:
        for selector in selectors:
            self.find(selector).click()
        self.settle()

    def set(self, selector: str, value: object) -> None:
        """Move a slider, or choose from a list, as a user would."""
        self.driver.execute_script(
            "arguments[0].value = arguments[1];"
            "['input', 'change'].forEach((kind) => arguments[0].dispatchEvent(new Event(kind, {bubbles: true})))",
            self.find(selector), str(value),
        )  # fmt: skip
        self.settle()

    def canvas(self, image: str, column: int | str) -> np.ndarray:
        """The pixels of a cell, (height, width, 4) uint8."""
        height, width, values = self.driver.execute_script(
            "const c = document.querySelector(`canvas[data-image='${arguments[0]}'][data-column='${arguments[1]}']`);"
            "c.scrollIntoView({block: 'nearest'});"
            "return [c.height, c.width, [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data]]",
            image, str(column),
        )  # fmt: skip
        return np.array(values, np.uint8).reshape(height, width, 4)

    def masks_only(self) -> None:
        """Show only predictions, opaque, so that each pixel has the colour of its class."""
        self.click("[data-layer=photograph] input[type=checkbox]")
        self.set("[data-layer=prediction] input[type=range]", 100)


def colours(mask: np.ndarray, shown: tuple[int, ...] = (1, 2)) -> np.ndarray:
    """(height, width, 4): the palette's colour of the shown classes, nothing elsewhere."""
    visible = np.isin(mask, shown)
    return np.where(visible[..., None], np.dstack([voc_palette()[mask], np.full(mask.shape, 255)]), 0).astype(np.uint8)


def wrong_rows(sweep: Sweep, image: str, column: int) -> int:
    rows = (2, 4, 10, 8)[column]  # in the order of the ranking
    return rows * (int(image.removeprefix("test_")) + 1) // 2
