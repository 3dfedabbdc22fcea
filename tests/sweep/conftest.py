"""A search on a study in a new folder."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from pipeline.config.addresses import storage_address
from pipeline.config.overrides import checked_config
from pipeline.sweep.search import Search
from pipeline.sweep.search_space import search_space
from pipeline.sweep.study import open_storage, open_study
from pipeline.sweep.trial_queue import TrialQueue
from tests.sweep.searches import SPACE, FakeSweep, finished


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with Optuna's tables, whose creation takes most of the time."""
    database = tmp_path_factory.mktemp("empty") / "optuna.db"
    open_storage(f"sqlite:///{database}")
    return database


@pytest.fixture
def search(empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Search]:
    """A function that starts a search as a new process would, any number of times on the same study."""
    monkeypatch.chdir(tmp_path)

    def start(
        n_trials: int, becomes: Callable[..., Any] = finished, after: Search | None = None, jobs: int = 1, **sweep: Any
    ) -> Search:
        config = checked_config([])
        config = dataclasses.replace(config, sweep=dataclasses.replace(config.sweep, **sweep))
        space = search_space(OverridesParser.create().parse_overrides(list(SPACE)))
        address = storage_address(None)
        database = Path(address.removeprefix("sqlite:///"))
        if not database.exists():
            database.parent.mkdir()
            shutil.copy(empty, database)
        study = open_study(open_storage(address), "fake", config.sweep, space.described(), config.epochs)
        fake = FakeSweep(config, becomes, jobs)
        if after is not None:
            fake.trained_results = after.sweep.trained_results  # type: ignore[attr-defined]
        queue = TrialQueue("fake", study, space, config.sweep.sampler, 5, jobs)
        return Search(fake, queue, address, n_trials)  # type: ignore[arg-type]

    return start
