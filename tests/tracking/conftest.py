"""Journals in new folders, and stores to send them to."""

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config.schema import TrackingConfig
from pipeline.tracking.journal import Journal
from pipeline.tracking.store import open_store
from tests.tracking.deliveries import KEYS, MLMODEL, folder


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "run")
    yield journal
    journal.close()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[TrackingConfig]:
    """Two addresses whose databases are made already."""
    place = tmp_path_factory.mktemp("stores")
    first = TrackingConfig(uri=f"sqlite:///{place}/first/mlflow.db", experiment="x")
    open_store(first)
    shutil.copytree(place / "first", place / "second")  # making it again would take seconds
    return [first, TrackingConfig(uri=f"sqlite:///{place}/second/mlflow.db", experiment="y")]


@pytest.fixture
def tracking(stores: list[TrackingConfig]) -> TrackingConfig:
    return stores[0]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Journal]:
    """write() makes the journal of a run that was interrupted, resumed, and has finished; keys are never used again."""

    def write(finished: bool = True) -> Journal:
        journal = Journal(tmp_path / f"{next(KEYS):032x}")
        journal.append("begin", name="name", tags={"schema": "1", "fingerprint": "f"}, experiment="x")
        journal.append("process", process={"host": "h", "boot": "b", "pid": 7, "started": 1.5})
        journal.post(folder(tmp_path / "config", "config.yaml"), "files", keep=False, place="config")
        journal.append("tags", values={"mlflow.note.content": "Büsche", "empty": ""})
        for split in ("train", "val"):
            journal.append("dataset", split=split, name=f"d-{split}", source=str(tmp_path), digest="0123456789" * 6)
        journal.append("params", values={f"p{number}": str(number) for number in range(3)})
        journal.metrics({"a": 1.0, "inf": math.inf, **{f"m{number}": number for number in range(3)}}, step=1)
        journal.append("tags", values={"failure": "ValueError: why"})
        journal.append("status", status="FAILED")
        journal.append("process", process={"host": "h", "boot": "b", "pid": 8, "started": 2.5})
        journal.metrics({"a": 0.5, "b": 1e-300}, step=2)
        journal.post(folder(tmp_path / "last", "weights.npz"), "files", keep=True, place="checkpoints/last")
        journal.post(folder(tmp_path / "model", "code.py", MLmodel=MLMODEL), "model", keep=False)
        if finished:
            journal.append("status", status="FINISHED")
        return journal

    return write
