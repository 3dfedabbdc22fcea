"""Ctrl-C, SIGTERM, SIGHUP: the step in flight is saved, the status says how the run ended, `resume=` continues it."""

import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

from pipeline.train.checkpoint import newest_first
from tests.end_to_end.commands import RUN, UNSEEN, Ended, lines, stored_runs
from tests.end_to_end.forks import fork_server
from tests.end_to_end.kill_anywhere import OFTEN, continuation, workplace
from tests.end_to_end.killing import Death
from tests.end_to_end.outcome import Outcome, Undisturbed, differing, outcome, run_folders

STEP = "pipeline.train.epochs:EpochCallback.on_train_batch_end"
SAVE = "pipeline.train.epochs:EpochCallback._save_within_epoch"


@dataclass(frozen=True)
class Case:
    """Signals that a process gets, and what they leave."""

    signals: tuple[Death, ...]  # calls are counted in this process
    newest: list[str]  # the checkpoints on the disk, the newest first

    @property
    def how(self) -> tuple[int, str]:
        """The expected exit status and message."""
        words = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
        number = signal.Signals(self.signals[0].number)
        return 128 + number, words.get(number, f"ended by {number.name}")


# One run, in one process after the other: each resumes it and is ended by its signals. Configured are checkpoints after
# steps 3, 6, 9 and each epoch of four; the others are due to signals. A second Ctrl-C ends the process at once; a
# terminal that closes may send SIGHUP twice.
CASES = {
    "SIGTERM in the first step": Case((Death(STEP, 1, number=signal.SIGTERM),), ["step-00000001"]),
    "Ctrl-C twice": Case(
        (Death(STEP, 4, number=signal.SIGINT), Death(SAVE, 2, number=signal.SIGINT)),
        ["step-00000004", "step-00000003"],
    ),
    "Ctrl-C in a step": Case((Death(STEP, 1, number=signal.SIGINT),), ["step-00000005", "step-00000004"]),
    "SIGTERM in validation": Case(
        (Death("open predictions/val/2/val_1", number=signal.SIGTERM),), ["step-00000008", "step-00000006"]
    ),
    "SIGHUP twice": Case(
        (Death(STEP, 2, number=signal.SIGHUP), Death(SAVE, 2, number=signal.SIGHUP)),
        ["step-00000010", "step-00000009"],
    ),
}
AT_THE_START = {
    name: Case((Death("pipeline.data.cache:prepare_dataset", number=number),), [])
    for name, number in (("Ctrl-C at the start", signal.SIGINT), ("SIGTERM at the start", signal.SIGTERM))
}
ALL = AT_THE_START | CASES


@dataclass(frozen=True)
class Interrupted:
    """What the signals of a case left, right after them."""

    ended: Ended
    run_id: str | None
    status: str | None  # in MLflow
    checkpoints: list[str]


@dataclass(frozen=True)
class Story:
    """What happened in one folder, the first signals before the run had begun."""

    interrupted: dict[str, Interrupted]
    end: Ended  # of the process that resumes the run to its end, with nobody to see what it prints
    outcome: Outcome


@pytest.fixture(scope="module")
def story(undisturbed: Undisturbed) -> Story:
    cwd = workplace(undisturbed.home)
    found = {name: interrupt(case, cwd) for name, case in ALL.items()}
    end = fork_server().run(cwd, "-c", UNSEEN, RUN, *continuation(cwd), **OFTEN)
    return Story(found, end, outcome(cwd))


def interrupt(case: Case, cwd: Path) -> Interrupted:
    """Begin the run of a folder, or resume it, with these signals."""
    ended = fork_server().run(cwd, RUN, *continuation(cwd), deaths=case.signals, **OFTEN)
    if not (runs := stored_runs(cwd)[1]):
        assert run_folders(cwd) == []
        return Interrupted(ended, None, None, [])
    (run,) = runs
    checkpoints = [path.name for path in newest_first(run_folders(cwd)[0] / "checkpoints")]
    return Interrupted(ended, run.info.run_id, run.info.status, checkpoints)


@pytest.mark.parametrize("name", ALL)
def test_status_and_last_lines_say_how_the_run_ended(story: Story, name: str) -> None:
    found, (status, word) = story.interrupted[name], ALL[name].how
    assert found.ended.status == status
    run = [f"run {found.run_id} is KILLED; resume={found.run_id} continues it"] if name in CASES else []
    assert lines(found.ended.stderr) == [*run, word]


@pytest.mark.parametrize("name", CASES)
def test_the_run_is_killed_and_the_step_in_flight_saved(story: Story, name: str) -> None:
    """Except after a second Ctrl-C, which ends the process at once."""
    assert story.interrupted[name].status == "KILLED"
    assert story.interrupted[name].checkpoints == CASES[name].newest


@pytest.mark.parametrize("name", AT_THE_START)
def test_a_signal_at_the_start_leaves_no_run(story: Story, name: str) -> None:
    assert story.interrupted[name].status is None


def test_resumed_and_unseen_it_equals_an_undisturbed_run(story: Story, undisturbed: Undisturbed) -> None:
    """Nobody sees the last process: its stdout has lost its reader, its stderr is on a full disk."""
    assert (story.end.status, story.end.stdout, story.end.stderr) == (0, "", "")
    assert differing(undisturbed.outcome, story.outcome) == ["tags: display_lost: None -> stdout: Broken pipe"]
