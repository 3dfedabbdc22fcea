"""Runs whose process died silently are marked once, by the next start; runs that are alive, or elsewhere, are not."""

import contextlib
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.process import STALE_AFTER, Process
from pipeline.tracking.dead_runs import how_to_continue, mark_dead_runs
from pipeline.tracking.delivery import Delivery
from pipeline.tracking.journal import Journal
from pipeline.tracking.records import Begin, ProcessStarted, Status
from pipeline.tracking.run_ref import RUNS, RunRef
from pipeline.tracking.store import Store, open_store
from pipeline.tracking.sweep_runs import IS_SWEEP
from pipeline.tracking.tracked_run import begin_record
from tests.end_to_end.commands import environment
from tests.tracking.deliveries import send
from tests.tracking.other_users import forbid

# Begins runs, prints the key and the id of each as soon as MLflow has all of it, and waits until it is killed.
WORK = """
import contextlib, sys, time
from pipeline.config.schema import TrackingConfig
from pipeline.tracking.tracked_run import TrackedRun
tracking = TrackingConfig(uri=None, experiment="x")
for _ in range(int(sys.argv[1])):
    run = TrackedRun.begin(tracking, "name", {}, "seed: 0", [])
    run.__enter__()
    run.log_metrics({"a": 1.0}, step=1)
    while not (run._delivery.done and run._delivery.run_id):
        time.sleep(0.01)
    print(run.key, run.name, flush=True)
sys.stdin.read()
"""


def work(cwd: Path, runs: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORK, str(runs)], cwd=cwd, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def begun(process: subprocess.Popen[str], runs: int) -> list[tuple[str, str]]:
    """The keys and ids that it prints."""
    printed = [process.stdout.readline().split() for _ in range(runs)]
    return [(key, run_id) for key, run_id in printed]


@dataclass(frozen=True)
class Place:
    """A folder where runs were begun, and the store under it."""

    cwd: Path
    store: Store
    dead: list[tuple[str, str]]  # (run_key, MLflow's id) of runs of a process that was killed
    alive: tuple[str, str]

    def status(self, run_id: str) -> str:
        return str(mlflow.MlflowClient(self.store.uri).get_run(run_id).info.status)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    cwd = tmp_path_factory.mktemp("place")
    tracking = TrackingConfig(uri=f"sqlite:///{cwd}/mlruns/mlflow.db", experiment="x")
    store = open_store(tracking)
    killed, living = work(cwd, 3), work(cwd, 1)
    try:
        dead, (alive,) = begun(killed, 3), begun(living, 1)
        killed.kill()
        killed.wait()
        yield Place(cwd, store, dead, alive)
    finally:
        for process in (killed, living):
            process.kill()
            process.wait()


@pytest.fixture(autouse=True)
def own_folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cwd = request.getfixturevalue("place").cwd if "place" in request.fixturenames else tmp_path
    monkeypatch.chdir(cwd)


def test_a_sweep_is_continued_by_its_command(tmp_path: Path) -> None:
    for tags, expected in (({}, "resume={} continues it"), ({IS_SWEEP: "true"}, "the command of this sweep, typed")):
        key = uuid.uuid4().hex
        with contextlib.closing(Journal(RUNS / key)) as journal:
            journal.append(begin_record(TrackingConfig(), "name", tags, "seed: 0", [], None))
        assert how_to_continue(key).startswith(expected.format(key))
    assert how_to_continue("abc") == "resume=abc continues it"


def test_two_starts_at_once_mark_each_dead_run_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their journals and in MLflow. The run of a process that lives stays as it is."""
    starts, marked = threading.Barrier(2), []
    owner = RunRef.owner

    def together(run: RunRef) -> Process | None:
        found = owner(run)
        starts.wait(60)  # both have seen that the run is dead
        return found

    def start() -> None:
        marked.append(mark_dead_runs(TrackingConfig(uri=None, experiment="x"), place.store))

    dead = dict(place.dead)
    assert [place.status(run_id) for run_id in dead.values()] == ["RUNNING"] * 3
    monkeypatch.setattr(RunRef, "owner", together)
    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted([*marked[0], *marked[1]]) == sorted(dead.values())
    for key, run_id in dead.items():
        assert place.status(run_id) == "KILLED"
        ends = [record.status for record in RunRef.of(key).records() if isinstance(record, Status)]
        assert ends == ["KILLED"]
    key, run_id = place.alive
    assert place.status(run_id) == "RUNNING" == RunRef.of(key).status()
    monkeypatch.undo()
    monkeypatch.chdir(place.cwd)
    assert mark_dead_runs(TrackingConfig(uri=None, experiment="x"), place.store) == []


def test_a_dead_run_without_a_folder_is_marked_in_mlflow(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it was silent for long, since another machine may have this one's name."""
    monkeypatch.chdir(tmp_path)  # where there are no folders
    client = mlflow.MlflowClient(place.store.uri)
    (_, dead), (_, recent), (_, alive) = place.dead[0], place.dead[1], place.alive
    tracking = TrackingConfig(uri=place.store.uri, experiment="x")
    for run_id in (dead, recent):
        client.update_run(run_id, "RUNNING")
    for run_id in (dead, alive):
        client.set_tag(run_id, "heartbeat", f"{time.time() - STALE_AFTER - 10:.0f}")
    client.set_tag(recent, "heartbeat", f"{time.time() - STALE_AFTER + 60:.0f}")
    elsewhere = client.create_run(
        place.store.experiment_id, tags={key: str(value) for key, value in vars(OTHERS["another host"]).items()}
    )
    by_hand = client.create_run(place.store.experiment_id)  # not one of this program's
    assert mark_dead_runs(tracking, place.store) == [dead]
    assert place.status(dead) == "KILLED"
    for run_id in (recent, alive, elsewhere.info.run_id, by_hand.info.run_id):
        assert place.status(run_id) == "RUNNING"


def test_a_server_that_refuses_the_mark_stops_no_start(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one whose disk is full."""
    monkeypatch.chdir(tmp_path)
    run_id = place.dead[2][1]
    client = mlflow.MlflowClient(place.store.uri)
    client.update_run(run_id, "RUNNING")
    client.set_tag(run_id, "heartbeat", "1")

    def full(*_: object, **__: object) -> None:
        raise MlflowException("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_terminated", full)
        assert mark_dead_runs(TrackingConfig(uri=place.store.uri, experiment="x"), place.store) == []
    assert mark_dead_runs(TrackingConfig(uri=place.store.uri, experiment="x"), place.store) == [run_id]


# ---- which process counts as dead: journals written by hand

THIS = Process.this()
DEAD = {
    "its process id was given to this process": replace(THIS, started=THIS.started - 60),
    "the machine was started again": replace(THIS, boot="another"),
    "no process has this id": replace(THIS, pid=2**22 + 1),
}
OTHERS = {"another host": replace(THIS, host="another"), "this very process": THIS}


def written(key: str, process: Process | None, status: str | None = None) -> RunRef:
    """A run that a process worked on; it has no end if the status is None."""
    journal = Journal(Path("mlruns/runs") / key)
    journal.append(Begin(name="name", tags={}, experiment="x", config="seed: 0"))
    if process is not None:
        journal.append(ProcessStarted(vars(process)))
    if status is not None:
        journal.append(Status(status))
    journal.close()
    return RunRef(journal.folder)


@pytest.mark.parametrize("process", DEAD)
def test_a_run_of_a_dead_process_is_marked(process: str) -> None:
    run = written("a" * 32, DEAD[process])
    assert mark_dead_runs(TrackingConfig(), None) == ["a" * 32]
    assert run.status() == "KILLED"
    assert mark_dead_runs(TrackingConfig(), None) == []


@pytest.mark.parametrize("process", OTHERS)
def test_a_run_that_may_be_alive_is_left_alone(process: str) -> None:
    run = written("a" * 32, OTHERS[process])
    before = (run.folder / "journal.jsonl").read_bytes()
    assert mark_dead_runs(TrackingConfig(), None) == []
    assert (run.folder / "journal.jsonl").read_bytes() == before


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_run_that_ended_is_not_marked(status: str) -> None:
    run = written("a" * 32, DEAD["no process has this id"], status)
    assert mark_dead_runs(TrackingConfig(), None) == []
    assert run.status() == status


def test_a_run_that_died_after_it_was_resumed_is_marked() -> None:
    run = written("a" * 32, DEAD["no process has this id"], "KILLED")
    journal = Journal(run.folder)
    journal.append(ProcessStarted(vars(DEAD["its process id was given to this process"])))
    journal.close()
    assert mark_dead_runs(TrackingConfig(), None) == ["a" * 32]


def test_a_run_without_a_process_is_dead_unless_it_is_in_use() -> None:
    """Its process died between the first two lines of the journal."""
    run = written("a" * 32, None)
    with contextlib.closing(Journal(run.folder)):
        assert mark_dead_runs(TrackingConfig(), None) == []
    assert mark_dead_runs(TrackingConfig(), None) == ["a" * 32]


def test_a_journal_that_another_process_holds_is_left_alone() -> None:
    run = written("a" * 32, DEAD["no process has this id"])
    held = Journal(run.folder)
    assert mark_dead_runs(TrackingConfig(), None) == []
    held.close()
    assert mark_dead_runs(TrackingConfig(), None) == ["a" * 32]


@pytest.mark.parametrize(("file", "reading"), [("lock", False), ("journal.jsonl", False), ("journal.jsonl", True)])
def test_a_dead_run_of_another_user_is_left_to_that_user(
    monkeypatch: pytest.MonkeyPatch, file: str, reading: bool
) -> None:
    theirs, own = (written(key * 32, DEAD["no process has this id"]) for key in "ab")
    with monkeypatch.context() as patch:
        forbid(patch, theirs.folder / file, reading=reading)
        assert mark_dead_runs(TrackingConfig(), None) == [own.key]
    assert (theirs.status(), own.status()) == ("RUNNING", "KILLED")
    assert mark_dead_runs(TrackingConfig(), None) == [theirs.key]  # by its user


def test_a_mark_that_cannot_be_sent_stops_no_start(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_delivery: Delivery) -> None:
        raise ValueError("a record of a newer version")

    run = written("b" * 32, DEAD["no process has this id"])
    monkeypatch.setattr(Delivery, "send_next", broken)
    assert mark_dead_runs(TrackingConfig(uri=None, experiment="x"), place.store) == ["b" * 32]
    assert run.status() == "KILLED" and not (run.folder / "sent.json").exists()


def test_a_run_that_was_resumed_elsewhere_stays_running(place: Place) -> None:
    """In MLflow. It is marked in the journal of the process that died here, and nowhere else."""
    run = written("d" * 32, DEAD["no process has this id"])
    with contextlib.closing(Journal(run.folder)) as journal:
        send(journal, TrackingConfig(uri=None, experiment="x"))
    mlflow.MlflowClient(place.store.uri).set_tag(run.name, "host", "another machine")
    assert run.name in mark_dead_runs(TrackingConfig(uri=None, experiment="x"), place.store)
    assert run.status() == "KILLED" and place.status(run.name) == "RUNNING"
