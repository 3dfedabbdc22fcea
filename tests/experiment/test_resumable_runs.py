"""Which run is resumed on this machine, and which is refused."""

import contextlib
import dataclasses
import os
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.config.addresses import LOCAL
from pipeline.config.schema import Config, TrackingConfig
from pipeline.experiment import resume
from pipeline.experiment.lineage import Lineage
from pipeline.experiment.resume import (
    SCORE,
    Finished,
    Resumable,
    find_resumable,
    find_same,
    finished_already,
)
from pipeline.runtime.errors import UserError
from pipeline.runtime.process import STALE_AFTER, Process
from pipeline.tracking.journal import Journal
from tests.experiment.runs import CONFIG, DEAD, ELSEWHERE, begun, write_checkpoint

DEFAULT = TrackingConfig(uri=None, experiment="segmentation", run_name=None)


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


# ---- resume=<run id>


def test_a_run_is_found_by_its_key_or_its_id() -> None:
    run = begun(run_id="abc")
    begun(run_id="def")
    for name in (run.key, "abc"):
        found = find_resumable(name, None)
        assert (found.name, found.run, found.run.status(), found.data_digest) == ("abc", run, "KILLED", "d")
        assert found.checkpoints == run.folder / "checkpoints"
        assert found.config == dataclasses.replace(CONFIG, tracking=dataclasses.replace(DEFAULT, uri=LOCAL))


def test_a_resumed_run_has_its_name_and_initial_weights() -> None:
    named = dataclasses.replace(CONFIG, tracking=dataclasses.replace(DEFAULT, run_name="mine"))
    found = find_resumable(begun(config=named, initial_weights_sha256="f00").key, None)
    assert (found.config.tracking.run_name, found.initial_sha256) == ("mine", "f00")


def test_initial_weights_are_not_needed_next_to_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    """They may be lost: of a run that was deleted, on a server that does not answer, in a file on another machine."""
    from pipeline.experiment import initial_weights

    def lost(config: Config, original: None) -> None:
        raise UserError("init_from=abc: no run has this id")

    monkeypatch.setattr(initial_weights, "requested_weights", lost)
    config = dataclasses.replace(CONFIG, init_from="abc")
    run = begun(config=config, initial_weights_sha256="f00")
    lineage = Lineage(resume=find_resumable(run.key, None))
    with pytest.raises(UserError, match="init_from=abc"):
        initial_weights.find_initial_weights(config, lineage)
    write_checkpoint(run.folder / "checkpoints")
    assert initial_weights.find_initial_weights(config, lineage) == (None, "f00")


def test_a_run_without_an_id_is_named_by_its_key() -> None:
    run = begun()
    assert find_resumable(run.key, None).name == run.key


def test_the_address_that_is_given_is_where_the_run_is_sent() -> None:
    tracking = TrackingConfig(uri="http://ada:x@host", experiment="y", run_name=None)
    run = begun(config=dataclasses.replace(CONFIG, tracking=tracking))
    assert find_resumable(run.key, "http://ada:x@host").config.tracking == tracking
    with pytest.raises(UserError, match=r"tracking\.uri=http://\*\*\*@host: the journal does not store the password"):
        find_resumable(run.key, None)


def test_a_run_whose_journal_is_in_use_is_alive() -> None:
    run = begun(status=None)
    alive = rf"^resume={run.key}: is still alive on .* \(pid {DEAD['pid']}\); it can be resumed when it has ended$"
    with contextlib.closing(Journal(run.folder)), pytest.raises(UserError, match=alive):
        find_resumable(run.key, None)
    assert find_resumable(run.key, None).run.status() == "RUNNING"  # its process has died


def test_in_a_shared_folder_the_heartbeat_shows_who_is_alive() -> None:
    """On a file system without locks."""
    run = begun(status=None, process=ELSEWHERE)
    beat = run.folder / "heartbeat"
    beat.touch()
    with pytest.raises(
        UserError, match=r"is still alive on another \(pid 1\), last heartbeat \d s ago; it can be resumed when"
    ):
        find_resumable(run.key, None)
    os.utime(beat, (time.time() - STALE_AFTER - 5,) * 2)
    assert find_resumable(run.key, None).run == run


def test_a_sweep_is_not_a_run_to_resume() -> None:
    run = begun(is_sweep="true")
    with pytest.raises(UserError, match=f"resume={run.key}: is a sweep; its command, typed again, continues it"):
        find_resumable(run.key, None)


def test_only_a_finished_run_has_a_score() -> None:
    finished = begun("FINISHED", 0.25, run_id="abc")
    assert finished_already(finished) == Finished("abc", {"train/loss": 0.25, SCORE: 0.25})
    assert finished_already(finished).score == 0.25
    assert finished_already(begun("KILLED", 0.25)) is None
    assert finished_already(begun("FINISHED")) is None


# ---- resume=auto


def test_the_same_run_has_the_fingerprint_and_the_experiment() -> None:
    begun(fingerprint="g")
    begun(config=dataclasses.replace(CONFIG, tracking=dataclasses.replace(DEFAULT, experiment="other")))
    begun("FAILED")
    begun(None, process=vars(Process.this()))
    assert find_same("f", "segmentation", None) is None
    run = begun()
    found = find_same("f", "segmentation", None)
    assert isinstance(found, Resumable) and found.run == run
    begun("FINISHED", 0.25, run_id="abc")
    assert find_same("f", "segmentation", None) == Finished("abc", {"train/loss": 0.25, SCORE: 0.25})


@pytest.mark.parametrize("process", [DEAD, ELSEWHERE])
def test_a_run_that_was_killed_without_a_word_is_resumed(process: dict[str, Any]) -> None:
    """Of a container, the host is another one each time that it starts."""
    run = begun(None, process=process)
    (run.folder / "heartbeat").touch()
    os.utime(run.folder / "heartbeat", (time.time() - STALE_AFTER - 5,) * 2)
    found = find_same("f", "segmentation", None)
    assert isinstance(found, Resumable) and found.run == run


@pytest.mark.parametrize("beats", [True, False])
def test_another_host_has_time_to_show_that_it_is_alive(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], beats: bool
) -> None:
    run = begun(None, process=ELSEWHERE)
    beat = run.folder / "heartbeat"
    beat.touch()
    os.utime(beat, (time.time() - 30,) * 2)
    waited: list[float] = []

    def sleep(seconds: float) -> None:
        waited.append(seconds)
        age = 0 if beats and len(waited) == 3 else 30 + 60 * len(waited)
        os.utime(beat, (time.time() - age,) * 2)

    monkeypatch.setattr(resume.time, "sleep", sleep)
    found = find_same("f", "segmentation", None)
    assert len(waited) == 3
    assert found is None if beats else isinstance(found, Resumable) and found.run == run
    said = f"note      run {run.key} was RUNNING on another (pid 1) 30 s ago: it is resumed if it is silent for 180 s\n"
    assert capsys.readouterr().out == said


def test_the_newest_interrupted_run_that_is_not_alive_is_found() -> None:
    runs = [begun() for _ in range(3)]
    for age, run in enumerate(reversed(runs)):
        os.utime(run.folder / "journal.jsonl", (time.time() - 10 * age,) * 2)
    with contextlib.closing(Journal(runs[2].folder)):
        found = find_same("f", "segmentation", None)
    assert isinstance(found, Resumable) and found.run == runs[1]
