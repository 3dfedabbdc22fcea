"""A dataset, and one finished run on it that many tests look at; another one to compare interrupted runs with."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.end_to_end.commands import Finished, make_run
from tests.end_to_end.kill_anywhere import OFTEN, OPTIONS, write_home
from tests.end_to_end.kill_anywhere import workplace as empty_workplace
from tests.end_to_end.killing import Forks, forks
from tests.end_to_end.outcome import Undisturbed, outcome


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory, voc_writer: Callable[..., Path]) -> Path:
    """A folder with the dataset VOC in it: images of three sizes, five classes, of which the masks have four."""
    place = tmp_path_factory.mktemp("data")
    voc_writer(place, train=5, val=2, test=3, size=[(24, 32), (40, 30), (33, 27)], classes=4)
    return place


@pytest.fixture(scope="session")
def finished(data: Path) -> Finished:
    """`run.py` on the dataset, for two epochs."""
    return make_run(data, "loss.class_weights=median_frequency", MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL="1")


@pytest.fixture
def workplace(tmp_path: Path, data: Path) -> Path:
    """A new folder with the same dataset."""
    (tmp_path / "VOC").symlink_to(data / "VOC")
    return tmp_path


@pytest.fixture(scope="session")
def servers() -> Iterator[tuple[Forks, Forks]]:
    """Two processes that run commands in forks of theirs, with TensorFlow imported."""
    with forks() as one, forks() as two:
        yield one, two


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, servers: tuple[Forks, Forks]) -> Undisturbed:
    """What interrupted runs are compared with."""
    home = tmp_path_factory.mktemp("home")
    write_home(home)
    cwd = empty_workplace(home)
    ended = servers[0].run(cwd, *OPTIONS, **OFTEN)
    assert ended.status == 0, ended.stderr
    found = outcome(cwd)
    assert found.status == "FINISHED" and found.journalled and found.model and found.artifacts
    return Undisturbed(home, cwd, found)
