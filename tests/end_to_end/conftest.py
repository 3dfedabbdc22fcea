"""A dataset, and one finished run on it that many tests look at; another one to compare interrupted runs with."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.end_to_end.commands import RUN, Finished, finished_run, furnish, make_run
from tests.end_to_end.forks import ForkServer, fork_server
from tests.end_to_end.kill_anywhere import OFTEN, OPTIONS, write_home
from tests.end_to_end.kill_anywhere import workplace as empty_workplace
from tests.end_to_end.outcome import Undisturbed, empty_store, outcome

Shared = Callable[[str, Callable[[Path], None]], Path]


@pytest.fixture(scope="session")
def data(made_once: Shared, voc_writer: Callable[..., Path]) -> Path:
    """A folder with a dataset (images of three sizes, five classes, one of them in no mask) and an empty store."""

    def make(place: Path) -> None:
        voc_writer(place, train=5, val=2, test=3, size=[(24, 32), (40, 30), (33, 27)], classes=4)
        empty_store(place)

    return made_once("data", make)


@pytest.fixture(scope="session")
def finished(made_once: Shared, data: Path) -> Finished:
    """`run.py` on the dataset, for two epochs."""

    def make(place: Path) -> None:
        shutil.copytree(data, place, dirs_exist_ok=True)
        make_run(place, "loss.class_weights=median_frequency", MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL="1")

    return finished_run(made_once("finished", make))


@pytest.fixture
def workplace(tmp_path: Path, data: Path) -> Path:
    """A new folder with the same dataset, and an empty store."""
    return furnish(tmp_path, data)


@pytest.fixture(scope="session")
def servers() -> tuple[ForkServer, ForkServer]:
    """Two processes that run commands in forks of theirs, with TensorFlow imported."""
    return fork_server(0), fork_server(1)


@pytest.fixture(scope="session")
def undisturbed(made_once: Shared) -> Undisturbed:
    """What interrupted runs are compared with."""

    def make(place: Path) -> None:
        write_home(place)
        cwd = empty_workplace(place)
        ended = fork_server().run(cwd, RUN, *OPTIONS, **OFTEN)
        assert ended.status == 0, ended.stderr
        (place / "cwd").symlink_to(cwd)
        (place / "outcome").write_bytes(pickle.dumps(outcome(cwd)))

    home = made_once("undisturbed", make)
    found = pickle.loads((home / "outcome").read_bytes())
    assert found.status == "FINISHED" and found.journalled and found.model and found.artifacts
    return Undisturbed(home, (home / "cwd").resolve(), found)
