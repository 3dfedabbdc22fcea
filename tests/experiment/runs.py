"""Runs and checkpoints as an interrupted process leaves them, without training."""

from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.model.weights import weights_sha256
from pipeline.runtime.process import Process
from pipeline.tracking.records import ProcessStarted, Status
from pipeline.tracking.run_ref import RunRef, write_position
from pipeline.tracking.tracked_run import TrackedRun
from pipeline.train.checkpoint import best_folder, step_folder
from pipeline.train.checkpoint_writer import CheckpointWriter
from tests.train.checkpoint_folders import files_at

CONFIG = checked_config(["precision=float32", "threads=2", "epochs=4", "dataset.classes=[a,b]"])
DEAD = {"host": Process.this().host, "boot": Process.this().boot, "pid": 2**22 + 1, "started": 1.0}
ELSEWHERE = {"host": "another machine", "boot": "x", "pid": 1, "started": 1.0}


def begun(
    status: str | None = "KILLED",
    score: float | None = None,
    process: dict[str, Any] = DEAD,
    run_id: str | None = None,
    config: Config = CONFIG,
    **tags: str,
) -> RunRef:
    """A run under mlruns/ that a process began; it has no end if the status is None."""
    text = OmegaConf.to_yaml(OmegaConf.structured(config))
    run = TrackedRun.begin(config.tracking, "name", {"fingerprint": "f", "data_digest": "d", **tags}, text, [])
    run.journal.append(ProcessStarted(process))
    if score is not None:
        run.log_metrics({"train/loss": 2 * score}, step=1)
        run.log_metrics({"train/loss": score, "best/val_mean_iou": score}, step=2)
    if status is not None:
        run.journal.append(Status(status))
    if run_id is not None:
        write_position(run.folder, run_id, len(run.journal.records))
    run.journal.close()
    return RunRef(run.folder)


def write_checkpoint(
    checkpoints: Path, step: int = 20, best: int = 1, mean_iou: float = 0.5, seconds: float = 1.5
) -> None:
    """A checkpoint of epochs of ten steps, and the best epoch's weights. Args: seconds: of training so far."""
    weights = files_at(best)["weights.npz"]
    CheckpointWriter(best_folder(checkpoints, best), {"weights.npz": weights}).commit({"epoch": best})
    state = {
        "step": step, "epoch": step // 10, "steps_per_epoch": 10, "seconds": seconds, "epoch_seconds": seconds / step,
        "told_collapse": False,
        "best": {
            "epoch": best, "mean_iou": mean_iou, "loss": 1.0, "confusion_matrix": [[3, 1], [0, 2]],
            "weights_sha256": weights_sha256(weights),
        },
    }  # fmt: skip
    CheckpointWriter(step_folder(checkpoints, step), files_at(step)).commit(state)


def send_and_close(run: TrackedRun) -> str:
    """Send everything that a run logged; returns MLflow's id."""
    run._delivery.send_all()
    run.journal.close()
    return run.name
