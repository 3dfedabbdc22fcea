"""What a launcher runs, in the sweep's own process or in another."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from omegaconf import DictConfig

from pipeline.runtime.process import Process
from pipeline.sweep import trial_job
from pipeline.sweep.progress import SweepProgress
from pipeline.sweep.stopping import StopState
from pipeline.sweep.trial_job import TrialJob, TrialSpec


def progress(folder: Path) -> SweepProgress:
    return SweepProgress(folder, ["best/val_mean_iou"], total=1, jobs=1, scores={}, ended=[], seconds=[])


@pytest.mark.parametrize(("step", "pid", "settles"), [(0, 0, False), (1, 0, False), (3, 0, False), (0, 1, True)])
def test_only_a_launchers_process_changes_folder_and_signals(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, step: int, pid: int, settles: bool
) -> None:
    """In the sweep's own it would ignore Ctrl-C."""
    state = StopState(tmp_path, max_failures=None)
    state.request_stop()
    this = Process.this()
    job = TrialJob(
        {0: TrialSpec(0, "depth=3", {})},
        "key",
        (),
        1,
        state,
        progress(tmp_path),
        sweep_process=replace(this, pid=this.pid + pid),
    )
    start, settled = psutil.boot_time() + step, []
    monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: start)
    monkeypatch.setattr(trial_job.HydraConfig, "get", lambda: SimpleNamespace(job=SimpleNamespace(num=0)))
    monkeypatch.setattr(TrialJob, "_settle", lambda self: settled.append(self))
    assert job(DictConfig({})).status == "skipped"
    assert bool(settled) is settles


def test_a_trial_elsewhere_has_the_store_of_its_sweep(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What the environment said where the sweep started; a key that the trial sets holds nevertheless."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "theirs")
    job = TrialJob({}, "key", (), 1, StopState(tmp_path, max_failures=None), progress(tmp_path))
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name)
    hydra = DictConfig({"overrides": {"task": []}})
    composed = {"threads": 1, "kernels": "auto", "tracking": {"uri": None, "experiment": None, "run_name": "mine"}}
    request = job._request(DictConfig(composed), TrialSpec(0, "depth=3", {}), hydra)
    assert request.config["tracking"] == {"uri": "http://host", "experiment": "theirs", "run_name": "mine"}
    composed["tracking"] = {"uri": "http://own", "experiment": "x", "run_name": None}
    request = job._request(DictConfig(composed), TrialSpec(0, "depth=3", {}), hydra)
    assert request.config["tracking"] == {"uri": "http://own", "experiment": "x", "run_name": None}
