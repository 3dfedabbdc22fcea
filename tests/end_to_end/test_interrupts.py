"""Ctrl-C and SIGTERM: the right exit status, no traceback, and a run that does not stay RUNNING."""

import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.end_to_end.commands import RUN, Ended, environment, lines, stored_runs, tiny


@dataclass(frozen=True)
class Case:
    signal: signal.Signals
    after: str  # what stdout says when the signal is sent; empty: so many seconds after the start
    seconds: float
    status: int
    word: str


CASES = {
    "Ctrl-C in training": Case(signal.SIGINT, "epoch ", 0, 130, "interrupted"),
    "SIGTERM in training": Case(signal.SIGTERM, "epoch ", 0, 143, "terminated"),
    "Ctrl-C at the start": Case(signal.SIGINT, "", 4.5, 130, "interrupted"),
    "SIGTERM at the start": Case(signal.SIGTERM, "", 4.5, 143, "terminated"),
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory, data: Path) -> dict[str, tuple[Ended, Path]]:
    """Runs that would last for minutes, started together, and each given its signal."""
    started = {}
    for name, case in CASES.items():
        cwd = tmp_path_factory.mktemp("cwd")
        (cwd / "VOC").symlink_to(data / "VOC")
        process = subprocess.Popen(
            [sys.executable, RUN, *tiny(epochs="100000")], cwd=cwd, env=environment(PYTHONUNBUFFERED="1"),
            text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        started[name] = (process, cwd)
        if not case.after:
            time.sleep(case.seconds)
            process.send_signal(case.signal)
    ended = {}
    for name, (process, cwd) in started.items():
        case, said = CASES[name], ""
        try:
            if case.after:
                while not (line := process.stdout.readline()).startswith(case.after):
                    assert line, process.stderr.read()
                    said += line
                said += line
                time.sleep(case.seconds)
                process.send_signal(case.signal)
            stdout, stderr = process.communicate(timeout=120)
        finally:
            process.kill()
        ended[name] = (Ended(process.returncode, said + stdout, stderr), cwd)
    return ended


@pytest.mark.parametrize("name", CASES)
def test_the_exit_status_and_one_line_tell_how_it_ended(ended: dict[str, tuple[Ended, Path]], name: str) -> None:
    told, _ = ended[name]
    assert told.status == CASES[name].status
    assert lines(told.stderr) == [f"{CASES[name].word}; a run that had begun is KILLED in MLflow"]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.after])
def test_the_run_is_killed_and_keeps_what_was_logged(ended: dict[str, tuple[Ended, Path]], name: str) -> None:
    told, cwd = ended[name]
    _, (run,) = stored_runs(cwd)
    assert run.info.status == "KILLED" and run.info.end_time is not None
    assert run.data.params["model.depth"] == "1"
    assert f"run       {run.info.run_id}" in told.stdout
    if "training" in name:
        assert run.data.metrics["val/mean_iou"] >= 0
        checkpoint = cwd / "mlruns/runs" / run.data.tags["run_key"] / "checkpoints/last"
        assert {path.name for path in checkpoint.iterdir()} == {"weights.npz", "optimizer.npz", "state.json"}


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.after])
def test_a_signal_at_the_start_leaves_no_run(ended: dict[str, tuple[Ended, Path]], name: str) -> None:
    assert stored_runs(ended[name][1])[1] == []
