"""Journals in new folders, and stores to send them to."""

import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.config.schema import TrackingConfig
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Begin, DatasetUsed, ModelScores, Params, ProcessStarted, Status, Tags
from pipeline.tracking.step_images import LoggedImage, image_key, write_images
from pipeline.tracking.store import open_store
from tests.tracking.deliveries import KEYS, MLMODEL, write_folder


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    journal = Journal(tmp_path / "run")
    yield journal
    journal.close()


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> list[TrackingConfig]:
    """Two addresses whose databases exist already."""
    place = tmp_path_factory.mktemp("stores")
    first = TrackingConfig(uri=f"sqlite:///{place}/first/mlflow.db", experiment="x")
    open_store(first)
    shutil.copytree(place / "first", place / "second")  # creating it again would take seconds
    return [first, TrackingConfig(uri=f"sqlite:///{place}/second/mlflow.db", experiment="y")]


@pytest.fixture
def tracking(stores: list[TrackingConfig]) -> TrackingConfig:
    return stores[0]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Journal]:
    """write() makes the journal of a run that was interrupted, resumed, and has finished, with a key of its own."""

    def write(finished: bool = True) -> Journal:
        journal = Journal(tmp_path / f"{next(KEYS):032x}")
        journal.append(Begin(name="name", tags={"schema": "1", "fingerprint": "f"}, experiment="x"))
        journal.append(ProcessStarted({"host": "h", "boot": "b", "pid": 7, "started": 1.5}))
        journal.move_artifacts(write_folder(tmp_path / "config", "config.yaml"), "config")
        journal.append(Tags({"mlflow.note.content": "Büsche", "empty": ""}))
        for split in ("train", "val"):
            journal.append(DatasetUsed(split, f"d-{split}", str(tmp_path), "0123456789" * 6))
        journal.append(Params({f"p{number}": str(number) for number in range(3)}))
        journal.append_metrics({"a": 1.0, "inf": math.inf, **{f"m{number}": number for number in range(3)}}, step=1)
        journal.append(Tags({"failure": "ValueError: why"}))
        journal.append(Status("FAILED"))
        journal.append(ProcessStarted({"host": "h", "boot": "b", "pid": 8, "started": 2.5}))
        journal.append_metrics({"a": 0.5, "b": 1e-300}, step=2)
        journal.copy_artifacts(write_folder(tmp_path / "last", "weights.npz"), "checkpoints/last")
        for step in (1, 2):
            image = LoggedImage(f"whole {step}".encode(), f"small {step}".encode())
            write_images(tmp_path / "images", {image_key("val", "a/b"): image}, step, 10 * step)
            journal.move_images(tmp_path / "images", "val", step, ["val/a/b"], 10 * step)
        journal.move_model(write_folder(tmp_path / "model", "code.py", MLmodel=MLMODEL), 2)
        journal.append(ModelScores(2, "d-val", "0123456789" * 6, ["b", "a"]))
        if finished:
            journal.append(Status("FINISHED"))
        return journal

    return write
