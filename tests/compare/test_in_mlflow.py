"""Finding the runs to compare, the section in the description, the `best` tag, and the registry."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import Dataset, DatasetInput, LoggedModelOutput, LoggedModelStatus, ViewType

from pipeline.runtime.errors import UserError
from pipeline.tracking.run_groups import (
    NOTE,
    PARENT,
    Group,
    describe_best,
    find_group,
    harmless,
    recorded_data_folder,
    register_model,
    tag_best,
)
from pipeline.tracking.stored_run import open_run
from pipeline.tracking.sweep_runs import IS_SWEEP
from tests.compare.store import HOSTILE, Sweep, client_of, make_run


@pytest.fixture(scope="module")
def place(sweep: Sweep) -> Path:
    """A store with the experiments `a b: c/d` of two runs and `other` of one, besides the sweep's."""
    for experiment, score, key in (("a b: c/d", 0.5, "one"), ("a b: c/d", 0.6, "two"), ("other", 0.7, "three")):
        make_run(sweep.place, experiment, sweep.root, score, run_key=key)
    return sweep.place


@pytest.fixture(autouse=True)
def in_place(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


@pytest.fixture
def own_sweep(place: Path) -> Iterator[str]:
    """The own run of a sweep with the trials `one` and `two`."""
    client = client_of(place)
    experiment = client.get_experiment_by_name("a b: c/d").experiment_id
    parent = str(client.create_run(experiment, tags={"run_key": "own", IS_SWEEP: "true"}).info.run_id)
    children = [open_run(key, None).run_id for key in ("one", "two")]
    for child in children:
        client.set_tag(child, PARENT, parent)
    yield parent
    for child in children:
        if PARENT in client.get_run(child).data.tags:
            client.delete_tag(child, PARENT)
    client.delete_run(parent)


def keys(group: Group) -> list[str]:
    return sorted(stored.tags["run_key"] for stored in group.runs)


def test_an_experiment_stands_for_its_runs_without_parents(place: Path) -> None:
    group = find_group(["a b: c/d"], None)
    assert (group.title, group.parent, keys(group), group.left_out) == ("a b: c/d", None, ["one", "two"], [])
    client = client_of(place)
    experiment = client.get_experiment_by_name("a b: c/d").experiment_id
    parent = client.create_run(experiment).info.run_id
    child = open_run("one", None).run_id
    client.set_tag(child, PARENT, parent)
    try:
        assert keys(find_group(["a b: c/d"], None)) == ["one", "two"]
        assert keys(find_group([parent], None)) == ["one"]
    finally:
        client.delete_tag(child, PARENT)
        client.delete_run(parent)


def test_only_runs_on_the_most_common_dataset_are_compared(place: Path) -> None:
    client = client_of(place)
    experiment = client.get_experiment_by_name("a b: c/d").experiment_id
    other = client.create_run(experiment, tags={"run_key": "x", "data_digest": "2"})
    client.log_param(other.info.run_id, "dataset.name", "voc2012")
    note = f"Runs on dataset=voc2012 are left out, since they have other classes; by their ids: {other.info.run_id}"
    try:
        group = find_group(["a b: c/d"], None)
        assert (keys(group), group.left_out) == (["one", "two"], [note])
        assert keys(find_group(["one", "x"], None)) == ["one", "x"]  # runs that are named are all compared
    finally:
        client.delete_run(other.info.run_id)


def test_trials_that_failed_before_they_began_leave_out_nothing(place: Path) -> None:
    """Their classes are those that were composed, [] where the dataset names them; they may be more than the others."""
    client, failed = client_of(place), []
    for _ in range(3):
        created = client.create_run(client.get_experiment_by_name("a b: c/d").experiment_id, tags={"run_key": "failed"})
        failed.append(created.info.run_id)
        for key, value in (("dataset.name", "folder"), ("dataset.classes", "[]")):
            client.log_param(failed[-1], key, value)
        client.set_terminated(failed[-1], "FAILED")
    try:
        group = find_group(["a b: c/d"], None)
        assert (keys(group), group.left_out) == ([*["failed"] * 3, "one", "two"], [])
        for key in ("one", "two"):
            client.delete_run(open_run(key, None).run_id)
        group = find_group(["a b: c/d"], None)  # none of them began
        assert (keys(group), group.left_out) == (["failed"] * 3, [])
    finally:
        for run in client.search_runs([created.info.experiment_id], run_view_type=ViewType.DELETED_ONLY):
            if run.data.tags.get("run_key") in ("one", "two"):
                client.restore_run(run.info.run_id)
        for run_id in failed:
            client.delete_run(run_id)


def test_runs_are_named_by_key_or_id_and_compared_once() -> None:
    assert keys(find_group(["one", "three", "one"], None)) == ["one", "three"]
    assert keys(find_group([open_run("two", None).run_id, "three"], None)) == ["three", "two"]


def test_a_run_that_is_named_twice_in_different_ways_is_compared_once() -> None:
    first = open_run("one", None).run_id
    assert keys(find_group([first, "three", "one"], None)) == ["one", "three"]
    with pytest.raises(UserError, match=f"{first} one: this run has no child runs; name .* several runs"):
        find_group([first, "one"], None)


def test_a_sweep_among_several_names_stands_for_its_trials(place: Path, own_sweep: str) -> None:
    """Its own run trains nothing, so it has no place in a ranking."""
    client = client_of(place)
    group = find_group([own_sweep, "three"], None)
    assert (group.title, group.parent, keys(group)) == ("3 runs", None, ["one", "three", "two"])
    assert keys(find_group(["one", own_sweep], None)) == ["one", "two"]  # a trial that is named besides is there once
    # The same sweep, named twice, is the sweep: its run gets the result.
    key = client.get_run(own_sweep).data.tags["run_key"]
    assert find_group([own_sweep, key], None).parent.run_id == own_sweep  # type: ignore[union-attr]


def test_trials_that_cannot_be_compared_are_named(place: Path, own_sweep: str) -> None:
    client = client_of(place)
    one, two = open_run("one", None).run_id, open_run("two", None).run_id
    client.set_tag(two, "schema", "99")
    try:
        group = find_group([own_sweep, "three"], None)
        assert keys(group) == ["one", "three"] and f"run={two}: was made by a newer version" in group.left_out[0]
        with pytest.raises(UserError, match=f"{own_sweep} one: these names have one run together; name ") as raised:
            find_group([own_sweep, "one"], None)
        assert f"run={two}: was made by a newer version" in raised.value.faults[1]
        client.set_tag(one, "schema", "99")
        with pytest.raises(UserError, match=f"{own_sweep}: none of its child runs can be read"):
            find_group([own_sweep, "three"], None)
        client.delete_tag(one, PARENT)
        client.delete_tag(two, PARENT)
        with pytest.raises(UserError, match=f"{own_sweep}: this sweep has no trials"):
            find_group([own_sweep, "three"], None)
    finally:
        client.delete_tag(two, "schema")
        client.delete_tag(one, "schema")


def test_unreadable_runs_are_left_out_with_a_note(place: Path) -> None:
    client, run_id = client_of(place), open_run("two", None).run_id
    client.set_tag(run_id, "schema", "99")
    try:
        group = find_group(["a b: c/d"], None)
        assert keys(group) == ["one"] and len(group.left_out) == 1
        assert group.left_out[0].startswith(f"run={run_id}: was made by a newer version")
        with pytest.raises(UserError, match="newer version"):
            find_group(["one", "two"], None)
    finally:
        client.delete_tag(run_id, "schema")


def test_only_one_run_of_a_group_is_the_best(place: Path) -> None:
    first, second = open_run("one", None), open_run("two", None)
    for best in (first, second, second):
        tag_best(Group("", None, [open_run("one", None), open_run("two", None)], []), best.run_id)
        tagged = [
            run_id
            for run_id in (first.run_id, second.run_id)
            if client_of(place).get_run(run_id).data.tags.get("best") == "true"
        ]
        assert tagged == [best.run_id]


def test_a_description_keeps_its_text_and_has_one_section(place: Path) -> None:
    parent, best = open_run("three", None), open_run("one", None)
    client_of(place).set_tag(parent.run_id, NOTE, "Before.")
    describe_best(parent, best, "width 4", "python run.py rerun=1")
    client_of(place).set_tag(
        parent.run_id, NOTE, client_of(place).get_run(parent.run_id).data.tags[NOTE] + "\n\nAfter."
    )
    describe_best(parent, best, HOSTILE, "python run.py rerun=2 tracking.uri='sqlite:////x y.db'")
    note = client_of(place).get_run(parent.run_id).data.tags[NOTE]
    assert note.count("<!-- comparison -->") == 1 and note.startswith("Before.\n\nAfter.\n\n")
    assert "rerun=1" not in note and "python run.py rerun=2 tracking.uri='sqlite:////x y.db'" in note
    assert re.findall(r"<[^>]*>", note) == ["<!-- comparison -->", "<!-- /comparison -->"]
    assert note.count("[") == note.count("](") == 1


def test_a_label_has_no_markdown() -> None:
    assert harmless("width 4, rate 1e-3 (*a*)") == "width 4, rate 1e-3 a"
    assert not set("[]()<>`#*!|\\\n") & set(harmless(HOSTILE + "[a](b) `c`\n# d | e ! * \\"))


@pytest.mark.parametrize(
    ("source", "folder"),
    [
        ('{"uri": "/data/VOC"}', Path("/data/VOC")),
        ('{"uri": "file:///data/a%20b"}', Path("/data/a b")),
        ('{"uri": "/data/50%"}', Path("/data/50%")),
        ('{"uri": "s3://bucket/VOC"}', None),
        ('{"uri": "relative"}', None),
        ('{"uri": ["x"]}', None),
        ("[1]", None),
        ("no JSON", None),
    ],
)
def test_a_data_folder_is_an_absolute_path_on_this_machine(place: Path, source: str, folder: Path | None) -> None:
    client = client_of(place)
    run_id = client.create_run(client.get_experiment_by_name("other").experiment_id).info.run_id
    client.log_inputs(run_id, [DatasetInput(Dataset("x", str(hash(source))[:36], "local", source))])
    assert recorded_data_folder(open_run(run_id, None)) == folder
    assert recorded_data_folder(open_run("one", None)) is None


def test_the_best_model_is_registered_once_with_the_alias(place: Path) -> None:
    with pytest.raises(UserError, match="has no model to register"):
        register_model(open_run("two", None))
    client = client_of(place)
    for key, version in (("one", "1"), ("two", "2"), ("one", "1")):
        stored = open_run(key, None)
        if not (stored.run.outputs and stored.run.outputs.model_outputs):
            give_model(place, stored.run_id)
            stored = open_run(key, None)
        assert register_model(stored) == "models:/a-b-c-d@best"
        found = client.get_model_version_by_alias("a-b-c-d", "best")
        assert (str(found.version), found.run_id) == (version, stored.run_id)


def give_model(place: Path, run_id: str) -> None:
    client = client_of(place)
    experiment = client.get_experiment_by_name("a b: c/d").experiment_id
    model = client.create_logged_model(experiment, "model", source_run_id=run_id)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
    folder = place / f"model-{run_id}"
    folder.mkdir()
    (folder / "MLmodel").write_text("flavors: {}\n")
    client.log_model_artifacts(model.model_id, str(folder))
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)
