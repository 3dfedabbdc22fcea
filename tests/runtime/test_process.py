"""The process that works on a run, and whether it is alive."""

import os
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from pipeline.runtime import process as module
from pipeline.runtime.process import Process, where


def test_this_process_is_alive_on_this_host() -> None:
    this = Process.this()
    assert (
        this.pid == os.getpid() and this.on_this_host and this.on_this_boot and this.is_alive and this.is_this_process
    )


@pytest.mark.parametrize("stored", ["journal", "tags"])
def test_a_process_is_read_from_a_journal_and_from_tags(stored: str) -> None:
    this = Process.this()
    values = vars(this) if stored == "journal" else {key: str(value) for key, value in vars(this).items()}
    assert Process.read(values) == this


@pytest.mark.parametrize(
    "stored",
    [
        {}, None, "process", {"host": "h"}, {"host": "h", "boot": "b", "pid": "x", "started": "1"},
        {"host": "h", "boot": "b", "pid": 7, "started": None}, {"host": 5, "boot": "b", "pid": 7, "started": 1.0},
        {"host": "h", "boot": "b", "pid": 0, "started": 1.0}, {"host": "h", "boot": "b", "pid": -1, "started": 1.0},
    ],
)  # fmt: skip
def test_anything_else_is_no_process(stored: object) -> None:
    assert Process.read(stored) is None


def test_a_reused_process_id_is_another_process() -> None:
    this = Process.this()
    assert not replace(this, started=this.started - 60).is_alive


@pytest.mark.parametrize("step", [-3600, -1, 1, 3, 3600])
def test_a_process_is_the_same_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The system then reports another time for its own start, and psutil for the start of every process."""
    before, child = Process.this(), subprocess.Popen(["sleep", "60"])
    try:
        child_process = replace(before, pid=child.pid, started=module._started(psutil.Process(child.pid)))
        start = psutil.boot_time() + step
        monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: start)
        assert before.is_this_process and before.is_alive and child_process.is_alive
        assert Process.this().started == pytest.approx(before.started, abs=1e-5)
    finally:
        child.kill()
        child.wait()


def test_a_start_time_stored_since_the_epoch_is_still_read() -> None:
    written = vars(Process.this()) | {"started": psutil.Process().create_time()}
    assert (found := Process.read(written)) is not None and found.is_alive
    assert (found := Process.read(written | {"started": written["started"] - 60})) is not None and not found.is_alive


def test_processes_of_another_boot_or_host_are_not_alive() -> None:
    this = Process.this()
    rebooted, elsewhere = replace(this, boot="another"), replace(this, host="another")
    assert rebooted.on_this_host and not rebooted.on_this_boot and not rebooted.is_alive
    assert not elsewhere.on_this_host and not elsewhere.on_this_boot and not elsewhere.is_alive


def test_a_zombie_is_not_alive() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        found = replace(Process.this(), pid=child.pid, started=module._started(psutil.Process(child.pid)))
        assert found.is_alive and not found.is_this_process
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
        assert not found.is_alive
    finally:
        child.kill()
        child.wait()
    assert not found.is_alive


def test_two_containers_with_one_name_are_two_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    this = Process.this()
    monkeypatch.setattr(module.os, "readlink", lambda _: "pid:[1]")
    assert not this.on_this_host


def test_host_and_pid_for_a_message() -> None:
    assert where(Process("host pid:[1]", "b", 7, 1.0)) == " on host (pid 7)"
    assert where(None) == ""
