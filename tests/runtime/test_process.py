"""Which process a run is worked on by, and whether it lives."""

import os
import subprocess
import sys
from dataclasses import replace

import psutil
import pytest

from pipeline.runtime import process as module
from pipeline.runtime.process import Process, where


def test_this_process_lives_here() -> None:
    this = Process.this()
    assert this.pid == os.getpid() and this.here and this.visible and this.lives and this.asks


@pytest.mark.parametrize("stored", ["journal", "tags"])
def test_a_process_is_read_back_from_a_journal_and_from_tags(stored: str) -> None:
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
def test_what_is_no_process_is_none(stored: object) -> None:
    assert Process.read(stored) is None


def test_a_process_id_that_was_given_out_again_is_another_process() -> None:
    this = Process.this()
    assert not replace(this, started=this.started - 60).lives


@pytest.mark.parametrize("step", [-3600, -1, 1, 3, 3600])
def test_a_process_is_the_same_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """The system then gives another instant for its own start, and psutil for every process's."""
    before, child = Process.this(), subprocess.Popen(["sleep", "60"])
    try:
        beside = replace(before, pid=child.pid, started=module._started(psutil.Process(child.pid)))
        start = psutil.boot_time() + step
        monkeypatch.setattr(psutil._psplatform, "boot_time", lambda: start)
        assert before.asks and before.lives and beside.lives
        assert Process.this().started == pytest.approx(before.started, abs=1e-5)
    finally:
        child.kill()
        child.wait()


def test_a_process_that_was_written_down_with_an_instant_since_the_epoch_still_lives() -> None:
    written = vars(Process.this()) | {"started": psutil.Process().create_time()}
    assert (found := Process.read(written)) is not None and found.lives
    assert (found := Process.read(written | {"started": written["started"] - 60})) is not None and not found.lives


def test_after_a_restart_of_the_machine_and_on_another_one_it_does_not_live() -> None:
    this = Process.this()
    rebooted, elsewhere = replace(this, boot="another"), replace(this, host="another")
    assert rebooted.here and not rebooted.visible and not rebooted.lives
    assert not elsewhere.here and not elsewhere.visible and not elsewhere.lives


def test_a_process_that_ended_does_not_live_even_before_its_parent_has_asked() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        found = replace(Process.this(), pid=child.pid, started=module._started(psutil.Process(child.pid)))
        assert found.lives and not found.asks
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
        assert not found.lives
    finally:
        child.kill()
        child.wait()
    assert not found.lives


def test_two_containers_of_one_name_are_two_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    this = Process.this()
    monkeypatch.setattr(module.os, "readlink", lambda _: "pid:[1]")
    assert not this.here


def test_where_it_runs_reads_well() -> None:
    assert where(Process("host pid:[1]", "b", 7, 1.0)) == " on host, process 7"
    assert where(None) == ""
