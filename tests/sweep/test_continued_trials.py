"""Trials that another process began: waited for while it lives, then resumed with the settings of their start."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.experiment.lineage import Lineage
from pipeline.experiment.restore_remote import NoCheckpoint
from pipeline.experiment.resume import Resumable
from pipeline.runtime.errors import UserError
from pipeline.sweep import known_trials, sweep, trial_job
from pipeline.sweep.command import trial_name
from pipeline.sweep.stopping import StopState
from pipeline.sweep.sweep import Sweep, Work
from pipeline.sweep.trial_job import TrialSpec
from pipeline.sweep.worker import tasks
from pipeline.sweep.worker.protocol import RunTrial, TrialEnded
from pipeline.tracking import sweep_runs
from pipeline.tracking.journal import Journal
from pipeline.tracking.run_ref import RUNS, RunRef
from pipeline.tracking.store import Unreachable
from pipeline.tracking.sweep_runs import TRIAL, Child
from tests.experiment.runs import begun

OVERRIDES = ["seed=1"]
CHILD = Child(
    key="k" * 32, name="id", trial=trial_name(OVERRIDES), status="RUNNING", alive=True, pruned=False,
    metrics={"best/val_mean_iou": 0.5}, reason="",
)  # fmt: skip

NO_STOP = StopState(Path("no such folder"), None)


@pytest.fixture
def config() -> Config:
    return checked_config([])


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(known_trials, "POLL_INTERVAL", 0.0)
    monkeypatch.setattr(known_trials, "ORPHAN_TIMEOUT", 0.2)


def opened(config: Config, monkeypatch: pytest.MonkeyPatch, seen: list[Child], shared: bool) -> Sweep:
    """A sweep with one trial; each read of its run gives the next of `seen`, and the last one from then on."""
    monkeypatch.setattr(known_trials, "children", lambda *_: [seen.pop(0) if len(seen) > 1 else seen[0]])
    command: Any = SimpleNamespace(lineage=Lineage())
    return Sweep("s", command, config, "0" * 32, None, None, 1, shared=shared)


@pytest.mark.parametrize("status", ["FINISHED", "KILLED"])
def test_a_search_waits_for_trials_of_its_other_processes(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    """Without a time limit, and also where the trial is trained on another machine."""
    ended = dataclasses.replace(CHILD, status=status, alive=False)
    monkeypatch.setattr(known_trials, "ORPHAN_TIMEOUT", 0.0)
    found = opened(config, monkeypatch, [CHILD, CHILD, CHILD, ended], shared=True)
    spec = found.plan(3, OVERRIDES, {"seed": "1"})
    assert capsys.readouterr().out == "seed=1: waiting for run id, which another process trains\n"
    if status == "FINISHED":
        assert spec is None and found.results[3].metrics == CHILD.metrics
    else:
        assert spec is not None and spec.resumes == CHILD.key


def test_trials_on_another_machine_are_polled(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where this machine has an older journal of it."""
    Journal(RUNS / CHILD.key).close()
    pauses: list[float] = []
    monkeypatch.setattr(known_trials.time, "sleep", pauses.append)
    found = opened(config, monkeypatch, [CHILD, CHILD, dataclasses.replace(CHILD, alive=False)], shared=True)
    found.plan(3, OVERRIDES, {"seed": "1"})
    assert len(pauses) == 2


def test_while_mlflow_does_not_answer_the_trials_stay_known(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the waiting goes on."""
    ended = dataclasses.replace(CHILD, status="FINISHED", alive=False)
    found = opened(config, monkeypatch, [CHILD], shared=True)
    answers: list[Any] = [Unreachable("tracking.uri=x: no answer"), [], [ended]]

    def children(*_: object) -> list[Child]:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return list(answer)

    monkeypatch.setattr(known_trials, "children", children)
    assert found.plan(3, OVERRIDES, {"seed": "1"}) is None
    assert found.results[3].metrics == CHILD.metrics and answers == []


def test_a_grid_refuses_a_trial_that_another_process_trains(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    found = opened(config, monkeypatch, [CHILD], shared=False)
    with pytest.raises(UserError, match=r"sweep\.name=s: run id \(seed=1\) is trained by another process"):
        found.plan(0, OVERRIDES, {"seed": "1"})


def request(config: Config, threads: int) -> RunTrial:
    """A launcher's request for a trial that is to be resumed."""
    plain = {**dataclasses.asdict(config), "threads": threads}
    return RunTrial(plain, [], "", [], name="", tags={}, parent="", resumes="k" * 32)


def test_a_resumed_trial_has_the_threads_of_its_first_start(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In a child that is set up with as many, whatever the launcher of this start would give it."""
    stored = Resumable(RunRef(tmp_path), dataclasses.replace(config, threads=1))
    monkeypatch.setattr(tasks, "find_resumable", lambda *_: stored)
    ran: list[Any] = []
    monkeypatch.setattr(tasks, "run_experiment", lambda config, *_: ran.append(config) or SimpleNamespace(
        pruned=False, metrics={}, name="id"
    ))  # fmt: skip
    children: list[object] = []

    def warm(settings: object) -> Any:
        children.append(settings)
        return SimpleNamespace(ask=lambda message, _: tasks.Worker().work(message, lambda _: None))

    monkeypatch.setattr(trial_job, "warm_worker", warm)
    ended = trial_job._run(request(config, threads=2), NO_STOP)
    assert ended.status == "finished", ended
    assert children == [(2, True, "auto"), (1, True, "auto")] and [each.threads for each in ran] == [1]


def refused(monkeypatch: pytest.MonkeyPatch, error: UserError) -> list[Any]:
    """Make the interrupted run impossible to resume; returns what is run in its place."""

    def find(*_: object) -> Resumable:
        raise error

    def run(config: Config, *rest: Any) -> None:
        ran.append((config, rest[2]))
        raise UserError("data_dir=gone: no such folder")

    ran: list[Any] = []
    monkeypatch.setattr(tasks, "find_resumable", find)
    monkeypatch.setattr(tasks, "run_experiment", run)
    monkeypatch.setattr(tasks, "record_failure", lambda *_: "a run of its own")
    return ran


def test_a_trial_without_a_checkpoint_starts_over(
    config: Config, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failure after that is recorded in a run of its own, not in the interrupted one."""
    ran = refused(monkeypatch, NoCheckpoint("resume=k: its checkpoints were not uploaded: resume it on \x1b[2J"))
    answer = tasks.Worker().work(request(config, threads=2), lambda _: None)
    assert answer == TrialEnded("failed", reason="data_dir=gone: no such folder", run="a run of its own")
    assert ran == [(dataclasses.replace(config, threads=2), Lineage())]
    assert capsys.readouterr().out == (
        "note      resume=k: its checkpoints were not uploaded: resume it on \\x1b[2J; the trial starts over\n"
    )


def test_a_trial_that_is_alive_or_damaged_fails(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = refused(monkeypatch, UserError("resume=k: is still alive"))
    answer = tasks.Worker().work(request(config, threads=2), lambda _: None)
    assert (answer.status, answer.reason, ran) == ("failed", "resume=k: is still alive", [])


def test_a_death_before_the_start_spares_another_machines_run(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    def dies(*_: object) -> None:
        raise trial_job.WorkerDied("its process was killed")

    monkeypatch.setattr(trial_job, "warm_worker", lambda _: SimpleNamespace(ask=dies))
    monkeypatch.setattr(sweep_runs, "record_failure", lambda *_: "a run of its own")
    assert trial_job._run(request(config, threads=2), NO_STOP).run == "a run of its own"
    assert not RUNS.exists()


def test_trials_that_a_failed_launcher_interrupted_are_resumed(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """And one whose process died has failed, while one that was not begun is begun."""
    statuses = {"interrupted": "KILLED", "died": None, "resumed": "KILLED", "retried": "FAILED", "done": "FINISHED"}
    names = {label: trial_name([f"seed={number}"]) for number, label in enumerate([*statuses, "new"])}
    runs = {label: begun(status, 0.5, trial=names[label]) for label, status in statuses.items()}
    monkeypatch.setattr(known_trials, "children", lambda *_: [sweep_runs._local_child(run) for run in runs.values()])
    monkeypatch.setattr(sweep.launchers, "shut_down", lambda _: None)
    command: Any = SimpleNamespace(lineage=Lineage(), config=SimpleNamespace(hydra=SimpleNamespace(launcher=None)))
    found = Sweep("s", command, config, "0" * 32, None, None, 2)
    batch: Work = [([], TrialSpec(number, label, {TRIAL: name})) for number, (label, name) in enumerate(names.items())]
    before = {name: int(label in ("resumed", "retried")) for label, name in names.items()}
    not_started = found._recover(batch, before, "why")
    assert [spec.label for _, spec in not_started] == ["resumed", "retried", "new"]
    results = {result.label: result for result in found.results.values()}
    assert {label: result.status for label, result in results.items()} == {
        "interrupted": "interrupted", "died": "failed", "done": "finished"
    }  # fmt: skip
    assert results["died"].reason == "why" and runs["died"].status() == "FAILED"
    assert runs["interrupted"].status() == "KILLED"
