"""Runs whose process died without a word are marked once by the next start; what is alive, or elsewhere, is not."""

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from pipeline.config.schema import TrackingConfig
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import STALE_AFTER, Process
from pipeline.tracking import local_runs as module
from pipeline.tracking.delivery import Delivery, write_position
from pipeline.tracking.journal import Journal, read_journal, status_of
from pipeline.tracking.local_runs import find_local, last_process, local_id, local_runs, mark_leftovers, tracking_of
from pipeline.tracking.store import Store, open_store
from tests.end_to_end.commands import environment

# Begins runs, says how they are called in both places as soon as MLflow has all of them, and works on for ever.
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
    print(run.key, run.id, flush=True)
sys.stdin.read()
"""


def work(cwd: Path, runs: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WORK, str(runs)], cwd=cwd, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


def begun(process: subprocess.Popen[str], runs: int) -> list[tuple[str, str]]:
    """The run_keys and ids that it tells."""
    told = [process.stdout.readline().split() for _ in range(runs)]
    return [(key, id) for key, id in told]


@dataclass(frozen=True)
class Place:
    """A folder where runs were begun, and the store under it."""

    cwd: Path
    store: Store
    dead: list[tuple[str, str]]  # (run_key, MLflow's id) of runs of a process that was killed
    alive: tuple[str, str]

    def status(self, id: str) -> str:
        return str(mlflow.MlflowClient(self.store.uri).get_run(id).info.status)

    def folder(self, key: str) -> Path:
        return self.cwd / "mlruns/runs" / key


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


def test_a_killed_process_leaves_runs_that_two_starts_at_once_mark_exactly_once(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In their journals and in MLflow. The run of a process that lives stays as it is."""
    starts, marked = threading.Barrier(2), []
    records = module.read_journal

    def together(folder: Path) -> list[dict]:
        found = records(folder)
        starts.wait(60)  # both have seen that the run needs to be marked
        return found

    def start() -> None:
        marked.append(mark_leftovers(TrackingConfig(uri=None, experiment="x"), place.store))

    dead = dict(place.dead)
    assert [place.status(id) for id in dead.values()] == ["RUNNING"] * 3
    monkeypatch.setattr(module, "read_journal", together)
    threads = [threading.Thread(target=start) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted([*marked[0], *marked[1]]) == sorted(dead.values())
    for key, id in dead.items():
        assert place.status(id) == "KILLED"
        statuses = [record["status"] for record in read_journal(place.folder(key)) if record["kind"] == "status"]
        assert statuses == ["KILLED"]
    key, id = place.alive
    assert place.status(id) == "RUNNING" == status_of(read_journal(place.folder(key)))
    monkeypatch.undo()
    monkeypatch.chdir(place.cwd)
    assert mark_leftovers(TrackingConfig(uri=None, experiment="x"), place.store) == []


def test_a_dead_run_whose_folder_was_removed_is_marked_in_mlflow_when_it_was_silent_for_long(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Silent for long, since another machine may have this one's name."""
    monkeypatch.chdir(tmp_path)  # where none of the folders is
    client = mlflow.MlflowClient(place.store.uri)
    (_, dead), (_, recent), (_, alive) = place.dead[0], place.dead[1], place.alive
    tracking = TrackingConfig(uri=place.store.uri, experiment="x")
    for id in (dead, recent):
        client.update_run(id, "RUNNING")
    for id in (dead, alive):
        client.set_tag(id, "heartbeat", f"{time.time() - STALE_AFTER - 10:.0f}")
    client.set_tag(recent, "heartbeat", f"{time.time() - STALE_AFTER + 60:.0f}")
    elsewhere = client.create_run(
        place.store.experiment_id, tags={key: str(value) for key, value in vars(OTHERS["another host"]).items()}
    )
    by_hand = client.create_run(place.store.experiment_id)  # not one of this program's
    assert mark_leftovers(tracking, place.store) == [dead]
    assert place.status(dead) == "KILLED"
    for id in (recent, alive, elsewhere.info.run_id, by_hand.info.run_id):
        assert place.status(id) == "RUNNING"


def test_what_cannot_be_marked_in_mlflow_now_stops_no_start(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a server that answers, but whose disk is full."""
    monkeypatch.chdir(tmp_path)
    id = place.dead[2][1]
    client = mlflow.MlflowClient(place.store.uri)
    client.update_run(id, "RUNNING")
    client.set_tag(id, "heartbeat", "1")

    def full(*_: object, **__: object) -> None:
        raise MlflowException("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_terminated", full)
        assert mark_leftovers(TrackingConfig(uri=place.store.uri, experiment="x"), place.store) == []
    assert mark_leftovers(TrackingConfig(uri=place.store.uri, experiment="x"), place.store) == [id]


# ---- which process counts as dead: journals written by hand

THIS = Process.this()
DEAD = {
    "this process id was given out again": replace(THIS, started=THIS.started - 60),
    "the machine was started again": replace(THIS, boot="another"),
    "no process has this id": replace(THIS, pid=2**22 + 1),
}
OTHERS = {"another host": replace(THIS, host="another"), "this very process": THIS}


def written(key: str, process: Process | None, status: str | None = None, uri: str | None = None) -> Path:
    journal = Journal(Path("mlruns/runs") / key)
    journal.append("begin", name="name", tags={}, tracking_uri=uri, experiment="x", config="seed: 0", overrides=[])
    if process is not None:
        journal.append("process", process=vars(process))
    if status is not None:
        journal.append("status", status=status)
    journal.close()
    return journal.folder


@pytest.mark.parametrize("process", DEAD)
def test_a_dead_process_is_seen_to_be_dead(process: str) -> None:
    folder = written("a" * 32, DEAD[process])
    assert mark_leftovers(TrackingConfig(), None) == ["a" * 32]
    assert status_of(read_journal(folder)) == "KILLED"
    assert mark_leftovers(TrackingConfig(), None) == []


@pytest.mark.parametrize("process", OTHERS)
def test_a_run_that_may_be_alive_is_left_alone(process: str) -> None:
    folder = written("a" * 32, OTHERS[process])
    before = (folder / "journal.jsonl").read_bytes()
    assert mark_leftovers(TrackingConfig(), None) == []
    assert (folder / "journal.jsonl").read_bytes() == before


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "KILLED"])
def test_a_run_that_ended_is_not_marked(status: str) -> None:
    folder = written("a" * 32, DEAD["no process has this id"], status)
    assert mark_leftovers(TrackingConfig(), None) == []
    assert status_of(read_journal(folder)) == status


def test_a_run_that_died_while_it_was_resumed_is_marked_again() -> None:
    folder = written("a" * 32, DEAD["no process has this id"], "KILLED")
    journal = Journal(folder)
    journal.append("process", process=vars(DEAD["this process id was given out again"]))
    journal.close()
    assert mark_leftovers(TrackingConfig(), None) == ["a" * 32]


def test_a_journal_that_another_process_holds_is_left_alone() -> None:
    folder = written("a" * 32, DEAD["no process has this id"])
    held = Journal(folder)
    assert mark_leftovers(TrackingConfig(), None) == []
    held.close()
    assert mark_leftovers(TrackingConfig(), None) == ["a" * 32]


def test_a_leftover_that_cannot_be_sent_stops_no_start(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_delivery: Delivery) -> None:
        raise ValueError("a record of a newer version")

    folder = written("b" * 32, DEAD["no process has this id"])
    monkeypatch.setattr(Delivery, "send_next", broken)
    assert mark_leftovers(TrackingConfig(uri=None, experiment="x"), place.store) == ["b" * 32]
    assert status_of(read_journal(folder)) == "KILLED" and not (folder / "sent.json").exists()


def test_what_another_machine_has_gone_on_with_stays_alive_in_mlflow(place: Place) -> None:
    """It is marked in the journal of the process that died here, and nowhere else."""
    folder = written("d" * 32, DEAD["no process has this id"])
    with contextlib.closing(Journal(folder)) as journal:
        delivery = Delivery(journal, TrackingConfig(uri=None, experiment="x"))
        while not delivery.done:
            delivery.send_next()
    id, client = local_id(folder) or "", mlflow.MlflowClient(place.store.uri)
    client.set_tag(id, "host", "another machine")
    assert id in mark_leftovers(TrackingConfig(uri=None, experiment="x"), place.store)
    assert status_of(read_journal(folder)) == "KILLED" and place.status(id) == "RUNNING"


# ---- runs are found


def test_a_run_is_found_by_its_key_and_by_mlflows_id_the_newest_first() -> None:
    older, newer = written("a" * 32, None), written("b" * 32, THIS)
    write_position(older, "f" * 32, 1)
    unfinished = Path("mlruns/runs/c")
    unfinished.mkdir()
    (unfinished / "journal.jsonl").write_text('{"kind": "beg')
    assert set(local_runs()) == {older, newer}
    assert find_local("a" * 32) == find_local("f" * 32) == older and find_local("b" * 32) == newer
    assert find_local("c") is None and find_local("None") is None
    assert (local_id(older), local_id(newer)) == ("f" * 32, None)
    assert last_process(read_journal(newer)) == THIS and last_process(read_journal(older)) is None


def test_the_address_of_a_journal_is_the_one_given_or_recorded_and_a_masked_one_is_asked_for() -> None:
    begin = {"tracking_uri": "http://***@host", "experiment": "e"}
    with pytest.raises(UserError, match=r"tracking.uri=http://\*\*\*@host: the journal keeps no password; give"):
        tracking_of(begin, None)
    assert tracking_of(begin, "http://a:b@host") == TrackingConfig(uri="http://a:b@host", experiment="e")
    assert tracking_of({**begin, "tracking_uri": None}, None).uri is None
