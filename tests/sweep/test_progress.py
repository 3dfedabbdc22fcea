"""The line of a trial that has ended."""

import time
from pathlib import Path

from pipeline.sweep.progress import SweepProgress


def progress(folder: Path, **more: object) -> SweepProgress:
    values = {
        "folder": folder, "objectives": ["best/val_mean_iou"], "total": 6, "jobs": 1, "scores": {0: 0.4},
        "ended": [0, 1], "seconds": [10.0],
    }  # fmt: skip
    return SweepProgress(**{**values, **more})  # type: ignore[arg-type]


def test_a_line_has_values_score_best_and_time_left(tmp_path: Path) -> None:
    """Trial 1 of an earlier start finished with 0.4, trial 2 failed after 10 s."""
    trials = progress(tmp_path)
    assert trials.end(2, "width=8", "finished", {"best/val_mean_iou": 0.25}, 20.0) == (
        "trial 3/6 finished: width=8, best/val_mean_iou 0.25, best so far 0.4 (trial 1), about 0:45 left"
    )
    assert trials.end(3, "width=16", "finished", {"best/val_mean_iou": 0.5}, 30.0) == (
        "trial 4/6 finished: width=16, best/val_mean_iou 0.5, best so far 0.5 (trial 4), about 0:40 left"
    )
    assert trials.end(4, "width=32", "failed", {}, 0.0) == (
        "trial 5/6 failed: width=32, best so far 0.5 (trial 4), about 0:15 left"
    )
    assert trials.end(5, "width=64", "pruned", {"best/val_mean_iou": 0.9}, 0.0) == (
        "trial 6/6 pruned: width=64, best/val_mean_iou 0.9, best so far 0.5 (trial 4)"
    )


def test_losses_are_best_when_low_and_jobs_share_the_time(tmp_path: Path) -> None:
    trials = progress(tmp_path, objectives=["val/loss"], scores={0: 0.4}, jobs=2, until=time.time() + 1000)
    assert trials.end(2, "", "finished", {"val/loss": 0.25}, 10.0).endswith(
        "best so far 0.25 (trial 3), about 0:20 left"
    )
    limited = progress(tmp_path, until=time.time() - 1)
    assert limited.end(3, "", "finished", {}, 10.0).endswith("about 0:00 left")


def test_of_several_objectives_there_is_no_best(tmp_path: Path) -> None:
    trials = progress(tmp_path, objectives=["best/val_mean_iou", "parameters"], total=0)
    said = trials.end(2, "", "finished", {"best/val_mean_iou": 0.25, "model/parameters": 1234567.0}, 1.0)
    assert said == "trial 3 finished: best/val_mean_iou 0.25, parameters 1.235e+06"
