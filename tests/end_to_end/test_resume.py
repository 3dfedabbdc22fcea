"""`resume=`: a run that was killed ends at the same bits, wherever it was killed, and whatever happened to it since.

The quick version of `kill_anywhere`: every command is a process of its own, and what is killed really dies by SIGKILL.
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
    """How every story ended, by the name of its function."""

    def tell(story: Callable[[Place], None], server: ForkServer) -> Place:
        place = Place(undisturbed.cwd if story is finished else workplace(undisturbed.home), server)
        story(place)
        if story is not finished:
            assert place.said["end"].status == 0, place.said["end"].stderr
            place.outcome = place.outcome or outcome(place.cwd)
        return place

    told = in_parallel(servers, [partial(tell, story) for story in STORIES])
    return {story.__name__: place for story, place in zip(STORIES, told, strict=True)}


@pytest.mark.parametrize("story", [story.__name__ for story in KILLED])
def test_killed_and_resumed_it_ends_as_if_nothing_had_been(
    places: dict[str, Place], undisturbed: Undisturbed, story: str
) -> None:
    found = places[story].outcome
    assert found is not None and differing(undisturbed.outcome, found) == []


def test_another_seed_gives_other_bits(places: dict[str, Place], undisturbed: Undisturbed) -> None:
    """So the comparison can fail."""
    found, expected = places["another_seed"].outcome, undisturbed.outcome
    assert found is not None
    assert all(found.checkpoint[name] != expected.checkpoint[name] for name in expected.checkpoint)
    assert found.results["train/loss"] != expected.results["train/loss"]


def test_a_resumed_run_says_where_it_goes_on(places: dict[str, Place]) -> None:
    notes = {
        ("before_the_mlflow_run_then_mid_epoch", "step 7"): "goes on with epoch 1, after its step 3 of 4",
        ("before_the_mlflow_run_then_mid_epoch", "end"): "goes on with epoch 2, after its step 2 of 4",
        ("full_disk_then_between_best_and_last", "end"): "goes on with epoch 1, after its step 3 of 4",
        ("twice_in_validation_then_moved", "twice"): "goes on with epoch 2, after its step 2 of 4",
    }
    for (story, told), note in notes.items():
        assert f"note      {note}" in places[story].said[told].stdout


def test_a_damaged_checkpoint_is_passed_over_and_named(places: dict[str, Place]) -> None:
    place = places["damaged_then_in_the_test_evaluation"]
    checkpoints = Path("mlruns/runs") / place.folder.name / "checkpoints"
    for told, named, goes_on in (
        ("all damaged", "step-00000003/state.json: is damaged or missing", "training begins again"),
        ("truncated", "step-00000006/optimizer.npz: is damaged", "goes on with epoch 2"),
        ("bit-flipped", "step-00000009/weights.npz: is damaged", "goes on with epoch 3"),
        ("end", "step-00000012/running.npz: is missing", "goes on with epoch 3, after its step 1 of 4"),
    ):
        notes = [line for line in lines(place.said[told].stdout) if line.startswith("note")]
        assert any(f"{checkpoints}/{named}" in note for note in notes), notes
        assert goes_on in notes[-1]


def test_only_where_it_is_tracked_and_where_the_data_lie_may_change(places: dict[str, Place]) -> None:
    refused = places["damaged_then_in_the_test_evaluation"].said["other keys"]
    assert refused.status == 2
    faults = sorted(lines(refused.stderr))
    assert len(faults) == 2
    assert faults[0].startswith("error: checkpoint.keep=3: it is 2 in run")
    assert faults[1].startswith("error: seed=1: it is 2 in run")


def test_changed_data_are_refused(places: dict[str, Place]) -> None:
    refused = places["damaged_then_in_the_test_evaluation"].said["changed data"]
    assert refused.status == 2
    (fault,) = lines(refused.stderr)
    assert "its data are not what they were when it began" in fault


def test_a_run_that_is_alive_is_refused(places: dict[str, Place]) -> None:
    refused = places["damaged_then_in_the_test_evaluation"].said["alive"]
    assert refused.status == 2
    (fault,) = lines(refused.stderr)
    assert "is still alive" in fault


def test_a_run_whose_checkpoints_are_elsewhere_says_where_to_resume_it(places: dict[str, Place]) -> None:
    place = places["damaged_then_in_the_test_evaluation"]
    refused = place.said["elsewhere"]
    assert refused.status == 2
    (fault,) = lines(refused.stderr)
    assert "its checkpoints were not uploaded (checkpoint.upload=epoch does it after every epoch)" in fault
    assert f"or copy mlruns/runs/{place.folder.name} from there to here" in fault


def test_uploaded_checkpoints_are_gone_on_from_anywhere(places: dict[str, Place], undisturbed: Undisturbed) -> None:
    found = places["on_another_machine"].outcome
    assert found is not None
    told = differing(undisturbed.outcome, found)
    assert told == ["params: checkpoint.upload: end -> epoch"]


def test_a_full_disk_ends_the_run_with_one_error(places: dict[str, Place]) -> None:
    """That it goes on when there is room is one of the comparisons above."""
    place = places["full_disk_then_between_best_and_last"]
    if "full" not in place.said:
        pytest.skip("a small tmpfs cannot be mounted here")
    ended = place.said["full"]
    assert ended.status == 1
    # The thread that sends may meet it too, in whichever file it writes.
    (error,) = [line for line in lines(ended.stderr) if not line.startswith("warning: ")]
    assert error.startswith("error: ") and "the checkpoint cannot be written: No space left on device" in error
    assert place.statuses == ["FAILED", "FAILED"]


@pytest.mark.parametrize("told", ["by id", "auto"])
def test_a_finished_run_is_not_trained_again(places: dict[str, Place], undisturbed: Undisturbed, told: str) -> None:
    ended = places["finished"].said[told]
    best = undisturbed.outcome.results["best/val_mean_iou"][0][1]
    (line,) = lines(ended.stdout)
    assert ended.status == 0 and ended.stderr == ""
    assert line.endswith(f"is FINISHED, best val mIoU {best:.4f}: nothing is left to train")


def test_a_longer_run_is_a_new_one_that_goes_on(places: dict[str, Place], undisturbed: Undisturbed) -> None:
    place = places["finished"]
    assert place.said["longer"].status == 0, place.said["longer"].stderr
    first, second = stored_runs(place.cwd)[1]  # so what was refused or finished already made none
    assert second.data.tags["resumed_from"] == first.info.run_id and "resumed_from" not in first.data.tags
    found = outcome(place.cwd, second.data.tags["run_key"])
    assert found.results["train/loss"][0][0] == 4 and len(found.results["train/loss"]) == 1
    assert differing(undisturbed.outcome, outcome(place.cwd, first.data.tags["run_key"])) == []


def test_a_longer_run_is_not_one_of_so_many_epochs_from_the_beginning(places: dict[str, Place]) -> None:
    """Until there its learning rate was that of the shorter one. So `resume=auto` and `rerun=` take it for no such."""
    place = places["finished"]
    first, second = stored_runs(place.cwd)[1]
    found = []
    for run in (first, second):
        text = Path(run.info.artifact_uri.removeprefix("file://"), "config/config.yaml").read_text()
        found.append(fingerprint(parse_config(text, "its configuration"), run.data.tags["data_digest"], None))
    assert first.data.tags["fingerprint"] == found[0]
    assert second.data.tags["fingerprint"] not in found
    refused = place.said["longer again"]
    assert refused.status == 2
    (fault,) = lines(refused.stderr)
    assert f"is the longer run that resume={first.info.run_id} epochs=4 made" in fault


def test_a_shorter_run_is_refused(places: dict[str, Place]) -> None:
    refused = places["finished"].said["shorter"]
    assert refused.status == 2
    (fault,) = lines(refused.stderr)
    assert "has trained 3 epochs; more than that expected" in fault
