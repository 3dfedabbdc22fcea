"""`resume=`: a killed run ends with the same bits, wherever it was killed, and whatever happened to it afterwards.

The quick version of `kill_anywhere`: every command is a process of its own, and those that are killed die by SIGKILL.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pipeline.config.fingerprint import fingerprint
from pipeline.config.stored import parse_config
from tests.end_to_end.commands import lines, stored_runs
from tests.end_to_end.forks import ForkServer
from tests.end_to_end.interrupted_stories import KILLED, STORIES, Place, finished
from tests.end_to_end.kill_anywhere import workplace
from tests.end_to_end.killing import in_parallel
from tests.end_to_end.outcome import Undisturbed, differing, outcome


@pytest.fixture(scope="module")
def places(undisturbed: Undisturbed, servers: tuple[ForkServer, ForkServer]) -> dict[str, Place]:
    """Every story's place, by the name of its function."""

    def play(story: Callable[[Place], None], server: ForkServer) -> Place:
        place = Place(undisturbed.cwd if story is finished else workplace(undisturbed.home), server)
        story(place)
        if story is not finished:
            assert place.ended["end"].status == 0, place.ended["end"].stderr
            place.outcome = place.outcome or outcome(place.cwd)
        return place

    played = in_parallel(servers, [partial(play, story) for story in STORIES])
    return {story.__name__: place for story, place in zip(STORIES, played, strict=True)}


@pytest.mark.parametrize("story", [story.__name__ for story in KILLED])
def test_a_killed_and_resumed_run_equals_an_undisturbed_one(
    places: dict[str, Place], undisturbed: Undisturbed, story: str
) -> None:
    found = places[story].outcome
    assert found is not None and differing(undisturbed.outcome, found) == []


def test_another_seed_gives_other_bits(places: dict[str, Place], undisturbed: Undisturbed) -> None:
    """Negative control: the comparison can fail."""
    found, expected = places["another_seed"].outcome, undisturbed.outcome
    assert found is not None
    assert all(found.checkpoint[name] != expected.checkpoint[name] for name in expected.checkpoint)
    assert found.results["train/loss"] != expected.results["train/loss"]


def test_a_resumed_run_says_where_it_continues(places: dict[str, Place]) -> None:
    notes = {
        ("in_five_places_then_moved", "step 7"): "continuing with epoch 1 after step 3 of 4",
        ("in_five_places_then_moved", "once"): "continuing with epoch 2 after step 2 of 4",
        ("in_five_places_then_moved", "twice"): "continuing with epoch 2 after step 2 of 4",
        ("full_disk_then_between_best_and_last", "end"): "continuing with epoch 1 after step 3 of 4",
    }
    for (story, label), note in notes.items():
        assert f"note      {note}" in places[story].ended[label].stdout


def test_a_damaged_checkpoint_is_passed_over_and_named(places: dict[str, Place]) -> None:
    place = places["damaged_then_in_the_test_evaluation"]
    checkpoints = Path("mlruns/runs") / place.folder.name / "checkpoints"
    for label, damage, continues in (
        ("damaged", "step-00000003/state.json: is damaged or missing", "training starts over"),
        ("end", "step-00000012/weights.npz: is damaged", "continuing with epoch 3 after step 1 of 4"),
    ):
        notes = [line for line in lines(place.ended[label].stdout) if line.startswith("note")]
        assert any(f"{checkpoints}/{damage}" in note for note in notes), notes
        assert any(continues in note for note in notes), notes


def test_only_tracking_and_the_place_of_the_data_may_change(places: dict[str, Place]) -> None:
    refused = places["damaged_then_in_the_test_evaluation"].ended["other keys"]
    assert refused.status == 2
    faults = sorted(lines(refused.stderr))
    assert len(faults) == 2
    assert faults[0].startswith("error: checkpoint.keep=3: it is 2 in run")
    assert faults[1].startswith("error: seed=1: it is 2 in run")


def test_changed_data_are_refused(places: dict[str, Place]) -> None:
    refused = places["damaged_then_in_the_test_evaluation"].ended["changed data"]
    assert refused.status == 2
    (fault,) = lines(refused.stderr)
    assert "its data have changed since it began" in fault


def test_a_run_that_is_alive_is_refused(places: dict[str, Place]) -> None:
    refused = places["damaged_then_in_the_test_evaluation"].ended["alive"]
    assert refused.status == 2
    (fault,) = lines(refused.stderr)
    assert "is still alive" in fault


def test_a_run_with_checkpoints_elsewhere_says_where_to_resume(places: dict[str, Place]) -> None:
    place = places["damaged_then_in_the_test_evaluation"]
    refused = place.ended["elsewhere"]
    assert refused.status == 2
    (fault,) = lines(refused.stderr)
    assert "its checkpoints were not uploaded (checkpoint.upload=epoch does it after every epoch)" in fault
    assert f"or copy mlruns/runs/{place.folder.name} from there to here" in fault


def test_uploaded_checkpoints_can_be_resumed_anywhere(places: dict[str, Place], undisturbed: Undisturbed) -> None:
    found = places["on_another_machine"].outcome
    assert found is not None
    assert differing(undisturbed.outcome, found) == ["params: checkpoint.upload: end -> epoch"]


def test_a_full_disk_ends_the_run_with_one_error(places: dict[str, Place]) -> None:
    """That it can be resumed when there is room again is one of the comparisons above."""
    place = places["full_disk_then_between_best_and_last"]
    if "full" not in place.ended:
        pytest.skip("a small tmpfs cannot be mounted here")
    ended = place.ended["full"]
    assert ended.status == 1
    # The thread that sends may also run into it, and then prints a warning.
    (error,) = [line for line in lines(ended.stderr) if not line.startswith("warning: ")]
    assert error.startswith("error: ") and "the checkpoint cannot be written: No space left on device" in error
    assert place.statuses == ["FAILED", "FAILED"]


@pytest.mark.parametrize("label", ["by id", "auto"])
def test_a_finished_run_is_not_trained_again(places: dict[str, Place], undisturbed: Undisturbed, label: str) -> None:
    ended = places["finished"].ended[label]
    best = undisturbed.outcome.results["best/val_mean_iou"][0][1]
    (line,) = lines(ended.stdout)
    assert ended.status == 0 and ended.stderr == ""
    assert line.endswith(f"is FINISHED, best val mIoU {best:.4f}: nothing is left to train")


def test_a_longer_run_is_a_new_run_that_continues(places: dict[str, Place], undisturbed: Undisturbed) -> None:
    place = places["finished"]
    assert place.ended["longer"].status == 0, place.ended["longer"].stderr
    first, second = stored_runs(place.cwd)[1]  # what was refused or already finished made no run
    assert second.data.tags["resumed_from"] == first.info.run_id and "resumed_from" not in first.data.tags
    found = outcome(place.cwd, second.data.tags["run_key"])
    assert found.results["train/loss"][0][0] == 4 and len(found.results["train/loss"]) == 1
    assert differing(undisturbed.outcome, outcome(place.cwd, first.data.tags["run_key"])) == []


def test_a_longer_run_differs_from_one_long_from_the_start(places: dict[str, Place]) -> None:
    """Its first epochs had the learning rates of the shorter run, so it has its own fingerprint and cannot be rerun."""
    place = places["finished"]
    first, second = stored_runs(place.cwd)[1]
    found = []
    for run in (first, second):
        text = Path(run.info.artifact_uri.removeprefix("file://"), "config/config.yaml").read_text()
        found.append(fingerprint(parse_config(text, "its configuration"), run.data.tags["data_digest"], None))
    assert first.data.tags["fingerprint"] == found[0]
    assert second.data.tags["fingerprint"] not in found
    refused = place.ended["longer again"]
    assert refused.status == 2
    (fault,) = lines(refused.stderr)
    assert f"is the longer run that resume={first.info.run_id} epochs=4 made" in fault


def test_a_shorter_run_is_refused(places: dict[str, Place]) -> None:
    refused = places["finished"].ended["shorter"]
    assert refused.status == 2
    (fault,) = lines(refused.stderr)
    assert "has trained 3 epochs; more than that expected" in fault
