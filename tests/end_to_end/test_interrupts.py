"""Ctrl-C, SIGTERM, SIGHUP: the step in flight is saved, the status says how the run ended, `resume=` continues it."""

import signal
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from pipeline.train.checkpoint import newest_first
from tests.end_to_end.commands import RUN, UNSEEN, Ended, lines, stored_runs
from tests.end_to_end.forks import ForkServer
from tests.end_to_end.kill_anywhere import OFTEN, OPTIONS, continuation, workplace
from tests.end_to_end.killing import Death, in_parallel
from tests.end_to_end.outcome import Outcome, Undisturbed, differing, outcome, run_folders

STEP = "pipeline.train.epochs:EpochCallback.on_train_batch_end"
SAVE = "pipeline.train.epochs:EpochCallback._save_within_epoch"


@dataclass(frozen=True)
class Case:
    """Signals that a run gets, and what they leave."""

    signals: tuple[Death, ...]
    newest: list[str]  # the checkpoints on the disk, the newest first

    @property
    def how(self) -> tuple[int, str]:
        """The expected exit status and message."""
        words = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
        number = signal.Signals(self.signals[0].number)
        return 128 + number, words.get(number, f"ended by {number.name}")

    @property
    def at_once(self) -> bool:
        """Whether a second signal ends the process at once. A terminal that closes may send SIGHUP twice."""
        return len(self.signals) > 1 and self.signals[1].number != signal.SIGHUP


# Configured are checkpoints after steps 3, 6, 9 and each epoch of four; those of steps 5, 1 and 8 are due to signals.
CASES = {
    "Ctrl-C in a step": Case((Death(STEP, 5, number=signal.SIGINT),), ["step-00000005", "step-00000004"]),
    "SIGTERM in the first step": Case((Death(STEP, 1, number=signal.SIGTERM),), ["step-00000001"]),
    "SIGTERM in validation": Case(
        (Death("open predictions/val/2/val_1", number=signal.SIGTERM),), ["step-00000008", "step-00000006"]
    ),
    "SIGHUP twice": Case(
        (Death(STEP, 5, number=signal.SIGHUP), Death(SAVE, 2, number=signal.SIGHUP)),
        ["step-00000005", "step-00000004"],
    ),
    "Ctrl-C twice": Case(
        (Death(STEP, 5, number=signal.SIGINT), Death(SAVE, 2, number=signal.SIGINT)),
        ["step-00000004", "step-00000003"],
    ),
}
AT_THE_START = {
    name: Case((Death("pipeline.data.cache:prepare_dataset", number=number),), [])
    for name, number in (("Ctrl-C at the start", signal.SIGINT), ("SIGTERM at the start", signal.SIGTERM))
}
ALL = CASES | AT_THE_START


@dataclass(frozen=True)
class Interrupted:
    """A run that got its signals, and what it left."""

    cwd: Path
    ended: Ended
    status: str | None  # in MLflow
    checkpoints: list[str]
    resumed: Ended | None
    outcome: Outcome | None


def interrupt(case: Case, home: Path, server: ForkServer) -> Interrupted:
    """Run with these signals. Unless they ended it at once, the run is resumed, if it had begun."""
    cwd = workplace(home)
    ended = server.run(cwd, RUN, *OPTIONS, deaths=case.signals, **OFTEN)
    runs = stored_runs(cwd)[1]
    if not runs:
        return Interrupted(cwd, ended, None, [], None, None)
    checkpoints = [path.name for path in newest_first(run_folders(cwd)[0] / "checkpoints")]
    if case.at_once:
        return Interrupted(cwd, ended, runs[0].info.status, checkpoints, None, None)
    resumed = server.run(cwd, RUN, *continuation(cwd), **OFTEN)
    return Interrupted(cwd, ended, runs[0].info.status, checkpoints, resumed, outcome(cwd))


@pytest.fixture(scope="module")
def interrupted(undisturbed: Undisturbed, servers: tuple[ForkServer, ForkServer]) -> dict[str, Interrupted]:
    tasks = [partial(interrupt, case, undisturbed.home) for case in ALL.values()]
    return dict(zip(ALL, in_parallel(servers, tasks), strict=True))


@pytest.mark.parametrize("name", ALL)
def test_status_and_last_lines_say_how_the_run_ended(interrupted: dict[str, Interrupted], name: str) -> None:
    found, (status, word) = interrupted[name], ALL[name].how
    assert found.ended.status == status
    messages = [word]
    if name in CASES:
        (run,) = stored_runs(found.cwd)[1]
        messages = [f"run {run.info.run_id} is KILLED; resume={run.info.run_id} continues it", word]
    assert lines(found.ended.stderr) == messages


@pytest.mark.parametrize("name", CASES)
def test_the_run_is_killed_and_the_step_in_flight_saved(interrupted: dict[str, Interrupted], name: str) -> None:
    """Except after a second Ctrl-C, which ends the process at once."""
    assert interrupted[name].status == "KILLED"
    assert interrupted[name].checkpoints == CASES[name].newest


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if not case.at_once])
def test_a_resumed_run_equals_an_undisturbed_one(
    interrupted: dict[str, Interrupted], undisturbed: Undisturbed, name: str
) -> None:
    found = interrupted[name]
    assert found.resumed is not None and found.outcome is not None
    assert found.resumed.status == 0, found.resumed.stderr
    assert differing(undisturbed.outcome, found.outcome) == []


@pytest.mark.parametrize("name", AT_THE_START)
def test_a_signal_at_the_start_leaves_no_run(interrupted: dict[str, Interrupted], name: str) -> None:
    assert interrupted[name].status is None
    assert run_folders(interrupted[name].cwd) == []


def test_a_run_that_nobody_sees_equals_a_seen_one(
    undisturbed: Undisturbed, servers: tuple[ForkServer, ForkServer]
) -> None:
    cwd = workplace(undisturbed.home)
    ended = servers[0].run(cwd, "-c", UNSEEN, RUN, *OPTIONS, **OFTEN)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "", "")
    assert differing(undisturbed.outcome, outcome(cwd)) == ["tags: display_lost: None -> stdout: Broken pipe"]
