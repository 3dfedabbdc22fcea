"""The warm child and its pipes, with trials that only pretend to train: TensorFlow is not imported."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from pipeline.sweep.worker import client
from pipeline.sweep.worker.client import ROOT, WarmWorker, WorkerDied
from pipeline.sweep.worker.protocol import (
    CheckData,
    DataChecked,
    DataRefused,
    Message,
    NeedsSettings,
    RunTrial,
    Stopped,
    StudyTrialArguments,
    TrialEnded,
    TrialStarted,
    from_json,
    to_json,
)

STUDY = StudyTrialArguments(address="sqlite:///x", name="s", trial_id=3, pruner="median", epochs=4)

# A child whose "trials" do what the configuration of their request asks for.
PRETEND = """
import os, signal, sys, time
from pipeline.runtime import signals
from pipeline.sweep.worker.__main__ import serve
from pipeline.sweep.worker.protocol import DataChecked, Stopped, TrialStarted

state = {"trials": 0}

def work(request, send):
    state["trials"] += 1
    options = request.config
    if "wait" in options:
        try:
            with signals.deferred():
                send(TrialStarted("k"))
                while True:
                    time.sleep(0.05)
                    signals.raise_pending()
        except signals.Interrupted:
            open(options["wait"], "w").write("checkpoint")
            return Stopped()
    send(TrialStarted("k"))
    print("printed by the trial", flush=True)
    if "die" in options:
        os.kill(os.getpid(), options["die"])
    if "exit" in options:
        os._exit(options["exit"])
    return DataChecked({"trials": state["trials"], "pid": os.getpid(), "stdin": sys.stdin.read()})

sys.exit(serve(lambda: work, int(sys.argv[1]), int(sys.argv[2])))
"""
COMMAND = (sys.executable, "-c", PRETEND)


@pytest.mark.parametrize(
    "message",
    [
        CheckData({"seed": 1, "dataset": {"root": None}}),
        RunTrial({}, ["seed=1"], "run: {}", [], "seed=1", {"trial": "seed=1"}, "p", study=STUDY),
        TrialStarted("k"),
        DataChecked({"train": [["a", "0", "1"]]}),
        DataRefused(["dataset.root=ü: not found"]),
        TrialEnded("failed", {"val/loss": 0.1 + 0.2}, "why", "id", reusable=False),
        NeedsSettings(2, deterministic=True, kernels="eigen"),
        Stopped(),
    ],
    ids=lambda message: type(message).__name__,
)
def test_messages_survive_their_json(message: Message) -> None:
    assert from_json(to_json(message)) == message


def test_one_process_answers_requests_and_prints_to_the_user(
    capfd: pytest.CaptureFixture[str],
) -> None:
    worker = WarmWorker(COMMAND)
    started: list[str] = []
    first, second = (worker.ask(CheckData({}), started.append).contents for _ in range(2))
    assert (first["trials"], second["trials"]) == (1, 2)
    assert first["pid"] == second["pid"] == worker.process.pid
    assert started == ["k", "k"]
    assert first["stdin"] == ""  # a trial that reads stdin finds it empty
    worker.close()
    assert capfd.readouterr().out == "printed by the trial\n" * 2


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        ({"die": signal.SIGKILL}, "killed (SIGKILL), as when memory runs out"),
        ({"die": signal.SIGABRT}, "SIGABRT, as when TensorFlow finds no more memory"),
        ({"exit": 3}, "ended with status 3"),
    ],
)
def test_a_childs_death_is_reported_with_its_cause(request_: dict[str, int], reason: str) -> None:
    worker, started = WarmWorker(COMMAND), list[str]()
    with pytest.raises(WorkerDied, match=r".*") as died:
        worker.ask(CheckData(request_), started.append)
    assert reason in str(died.value)
    assert started == ["k"]
    assert not worker.is_alive
    with pytest.raises(WorkerDied):  # also where the pipe is broken already
        worker.ask(CheckData({}))
    worker.close()


def test_an_idle_child_ends_on_close() -> None:
    worker = WarmWorker(COMMAND)
    worker.ask(CheckData({}))
    worker.close()
    assert worker.process.returncode == 0


def test_a_child_is_replaced_if_dead_or_set_up_differently(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client.WarmWorker, "__init__", _with_command(client.WarmWorker.__init__))
    try:
        early = client.start_worker("eigen")
        first = client.warm_worker((2, True, "eigen"))
        assert first is early and client.warm_worker((2, True, "eigen")) is first
        other = client.warm_worker((2, True, "onednn"))
        assert other is not first and first.process.returncode is not None
        other.process.kill()
        other.process.wait()
        assert client.warm_worker((2, True, "onednn")) is not other
    finally:
        client.close_worker()


def _with_command(start: object) -> object:
    return lambda self, **given: start(self, COMMAND, **given)  # type: ignore[operator]


# A parent that asks for an endless trial, and prints the process id of its child and then its exit status.
PARENT = textwrap.dedent(
    """
    import signal, sys
    from pipeline.runtime import signals
    from pipeline.sweep.worker.client import WarmWorker
    from pipeline.sweep.worker.protocol import CheckData
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # also where the tests run under nohup
    signals.install()
    worker = WarmWorker((sys.executable, "-c", sys.argv[1]))
    try:
        worker.ask(CheckData({"wait": sys.argv[2]}), lambda run_key: print(worker.process.pid, flush=True))
    except signals.Interrupted as error:
        print(worker.process.returncode, flush=True)
        sys.exit(error.exit_status)
    """
)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_trial_writes_its_checkpoint_when_its_parent_ends(tmp_path: Path, number: signal.Signals) -> None:
    """A signal is passed on and the child waited for; a child whose parent is killed notices it."""
    checkpoint = tmp_path / "checkpoint"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, PRETEND, str(checkpoint)],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    output = iter(parent.stdout.readline, "")  # type: ignore[union-attr]
    child = psutil.Process(int(next(line for line in output if line.strip().isdecimal())))
    parent.send_signal(number)
    status = parent.wait(timeout=30)
    if number is signal.SIGKILL:
        psutil.wait_procs([child], timeout=30)
    assert status == (-number if number is signal.SIGKILL else 128 + number)
    assert checkpoint.read_text() == "checkpoint"
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_trial_continues_when_its_output_has_no_reader() -> None:
    """As after a sweep was killed together with the program that its output was piped into."""
    reading, writing = os.pipe()
    stdout = os.dup(1)
    os.dup2(writing, 1)
    os.close(writing)
    try:
        worker = WarmWorker(COMMAND)
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)
    os.close(reading)
    assert [worker.ask(CheckData({})).contents["trials"] for _ in range(2)] == [1, 2]
    worker.close()
    assert worker.process.returncode == 0


def test_a_second_signal_kills_a_child_that_does_not_end() -> None:
    ignoring = PRETEND.replace("signals.raise_pending()", "pass")
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, ignoring, "nowhere"],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    output = iter(parent.stdout.readline, "")  # type: ignore[union-attr]
    child = psutil.Process(int(next(line for line in output if line.strip().isdecimal())))
    parent.send_signal(signal.SIGINT)
    while parent.poll() is None:  # the first may still be unhandled; a third would end the parent itself
        with contextlib.suppress(subprocess.TimeoutExpired):
            parent.wait(2)
        parent.send_signal(signal.SIGINT)
    assert parent.returncode == 130
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
