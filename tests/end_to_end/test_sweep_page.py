"""The page of a sweep in MLflow's own UI, in a real browser: MLflow documents none of what a shared view is made of."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import mlflow
import numpy as np
import pytest
from PIL import Image

from pipeline.evaluate.image_tile import as_webp
from pipeline.tracking.shared_view import TAG, sweep_view
from pipeline.tracking.step_images import PLACE, LoggedImage, write_images
from pipeline.tracking.store import Store
from tests.end_to_end.server import Server

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

from tests.compare.browser import CHROMIUM, DRIVER, chromium

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM.exists() and DRIVER.exists()), reason="no Chromium with its chromedriver"),
]
KEY = "0123456789abcdef" * 2
WIDTHS = (4, 8, 16)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """That of the page of a sweep of three trials on a server, next to a run that does not belong to it."""
    server = Server(tmp_path_factory.mktemp("server"))
    server.start()
    try:
        client = mlflow.MlflowClient(server.address)
        experiment = client.create_experiment("x")
        client.create_run(experiment, run_name="another run")
        parent = client.create_run(experiment, run_name="the sweep", tags={"sweep": "s", "is_sweep": "true"})
        for width in WIDTHS:
            tags = {"sweep": "s", "trial": str(width), "mlflow.parentRunId": parent.info.run_id}
            run = client.create_run(experiment, run_name=f"width={width}", tags=tags).info.run_id
            client.log_param(run, "model.width", width)
            for epoch in (1, 2):
                client.log_metric(run, "val/mean_iou", width * epoch / 100, step=epoch)
                folder = tmp_path_factory.mktemp("images") / "images"
                tile = as_webp(Image.fromarray(np.full((40, 40, 3), width * 10, np.uint8)))
                write_images(folder, {"val/a": LoggedImage(tile, tile)}, epoch, 1000 * epoch)
                client.log_artifacts(run, str(folder), PLACE)
            client.set_tag(run, "mlflow.loggedImages", "True")
            client.log_metric(run, "best/val_mean_iou", width * 2 / 100, step=2)
        view = sweep_view("s", 1000, ["model.width"], ["best/val_mean_iou"], ["val/a"], epochs=2)
        client.set_experiment_tag(experiment, f"{TAG}{KEY}", view)
        yield Store(server.address, experiment).view_address(KEY)
    finally:
        server.kill()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    driver = chromium(tmp_path_factory.mktemp("browser"))
    driver.set_window_size(1500, 2600)  # so that every chart is in view, and drawn
    yield driver
    driver.quit()


def texts(driver: Any, selector: str) -> list[str]:
    """Of elements, by one script: MLflow's UI replaces them while it loads."""
    script = "return [...document.querySelectorAll(arguments[0])].map((element) => element.innerText.trim())"
    return list(driver.execute_script(script, selector))


def wait_for(seen: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < until
        time.sleep(0.2)


def test_it_lists_only_the_trials_the_best_first_with_their_charts(driver: Any, address: str) -> None:
    driver.get(address)

    def text() -> str:
        return str(driver.execute_script("return document.body.innerText"))

    wait_for(lambda: "val/a" in text() and "Parallel Coordinates" in text() and "val/mean_iou" in text())
    wait_for(lambda: "3 matching runs" in text())
    assert "Error loading shared view state" not in text() and "another run" not in text() and "the sweep" not in text()
    assert [name for name in texts(driver, "a") if name.startswith("width=")][:3] == ["width=16", "width=8", "width=4"]
    sizes = "return [...document.images].filter((image) => image.src.includes('images')).map((i) => i.naturalWidth)"
    wait_for(lambda: len(driver.execute_script(sizes)) >= 3)
    assert set(driver.execute_script(sizes)) == {40}


def test_the_table_has_what_varies_and_the_scores_as_columns(driver: Any, address: str) -> None:
    driver.get("about:blank")
    driver.get(address.replace("compareRunsMode=CHART&", ""))

    def headings() -> list[str]:
        return texts(driver, "[role=columnheader]")

    wait_for(lambda: {"best/val_mean_iou", "model.width"} <= set(headings()))
