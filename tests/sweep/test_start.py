"""A sweep is run by one process at a time, whatever folder or machine it is started in."""

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mlflow
import pytest
from omegaconf import OmegaConf

from pipeline.config.overrides import checked_config
from pipeline.config.schema import TrackingConfig
from pipeline.experiment.lineage import Lineage
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import Process
from pipeline.sweep import start
from pipeline.sweep.sweep import Sweep
from pipeline.sweep.worker.protocol import DataChecked
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.sweep_runs import find_sweep_run

LAUNCHER = {"hydra": {"launcher": {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"}}}
ANOTHER = dataclasses.replace(Process.this(), host="another machine")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    uri = f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db"
    return open_store(TrackingConfig(uri=uri, experiment="segmentation", run_name=None))


Open = Callable[..., contextlib.AbstractContextManager[Sweep]]


@pytest.fixture
def opened(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """opened(folder, name) opens a sweep in a folder, without a child process that would check its data."""
    monkeypatch.setattr(start, "start_worker", lambda _: None)
    monkeypatch.setattr(start, "_check_data", lambda *_: {})

    @contextlib.contextmanager
    def opened(folder: str, name: str, process: Process | None = None, join: bool = False) -> Any:
        config = checked_config([f"sweep.name={name}", f"tracking.uri={store.uri}"])
        command: Any = SimpleNamespace(
            lineage=Lineage(), typed=["seed=0,1"], parsed=list, config=OmegaConf.create(LAUNCHER)
        )
        (tmp_path / folder).mkdir(exist_ok=True)
        with contextlib.chdir(tmp_path / folder), monkeypatch.context() as context:
            if process is not None:
                context.setattr(Process, "this", staticmethod(lambda: process))
            with start.open_sweep(command, config, [], join) as sweep:
                while sweep.run is not None and not sweep.run._delivery.done:
                    time.sleep(0.01)
                yield sweep

    return opened


def test_a_grid_that_another_machine_runs_is_refused(store: Store, opened: Open) -> None:
    with opened("first", "grid") as begun:
        pass
    with opened("second", "grid", ANOTHER) as elsewhere:
        assert elsewhere.key == begun.key
        refusal = r"^sweep\.name=grid: another process runs this sweep$"
        with pytest.raises(UserError, match=refusal), opened("first", "grid"):
            pass
    with opened("first", "grid") as again:
        assert again.key == begun.key and again.run is not None and again.run.name == elsewhere.run.name
    assert mlflow.MlflowClient(store.uri).get_run(again.run.name).info.status == "FINISHED"


def test_a_search_joins_one_on_another_machine(opened: Open) -> None:
    """As one of several processes: it does not take the other machine's trials for stale."""
    with opened("first", "search", join=True):
        pass
    with opened("second", "search", ANOTHER, join=True), opened("first", "search", join=True) as joined:
        assert joined.run is None


def test_the_lock_of_a_local_journal_shows_whether_it_is_alive(store: Store, opened: Open, tmp_path: Path) -> None:
    """As after a container was killed and started again at once under another host name."""
    with opened("first", "killed", ANOTHER) as sweep:
        pass
    mlflow.MlflowClient(store.uri).update_run(sweep.run.name, "RUNNING")
    for folder, alive in (("first", False), ("second", True)):
        (tmp_path / folder).mkdir(exist_ok=True)
        with contextlib.chdir(tmp_path / folder):
            found = find_sweep_run("killed", store)
        assert found is not None and (found.key, found.alive) == (sweep.key, alive)


def test_other_code_or_data_under_the_same_name_is_refused(
    opened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contents = {"train": [["train_0", "0" * 64, "1" * 64]]}
    checked = DataChecked(contents)
    monkeypatch.setattr(start, "_check_data", lambda *_: {"the data": checked})
    with opened("first", "changed"):
        pass
    record = tmp_path / "first/mlruns/sweeps/changed/sweep.json"
    content = json.loads(record.read_text())
    content["data"]["the data"]["train"][0][1] = "2" * 64
    content["sources"]["model/unet.py"] = "0" * 64
    record.write_text(json.dumps(content))
    with pytest.raises(UserError) as refused, opened("first", "changed"):
        pass
    assert refused.value.faults == (
        "sweep.name=changed: sources: model/unet.py changed",
        "sweep.name=changed: data, train split: another image train_0",
        "sweep.name=changed: its earlier trials were made with other code or data; give another sweep.name",
    )
