"""A sweep in a store, compared once for all tests that examine the result; a browser for those that need one."""

import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.compare.__main__ import main
from tests.compare.store import Sweep, inside, make_sweep


@pytest.fixture(scope="session")
def sweep(tmp_path_factory: pytest.TempPathFactory, voc_writer: Callable[..., Path]) -> Sweep:
    place = tmp_path_factory.mktemp("sweep")
    root = voc_writer(place, train=1, val=2, test=4, size=[(24, 32), (40, 20)], classes=3)
    parent, ids = make_sweep(place, root)
    stdout = io.StringIO()
    with inside(place), contextlib.redirect_stdout(stdout):
        assert main([parent]) == 0
    return Sweep(place, root, parent, ids, stdout.getvalue())


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from tests.compare.browser import chromium  # only the tests that have a browser have selenium

    driver = chromium(tmp_path_factory.mktemp("browser"))
    yield driver
    driver.quit()
