"""Which overrides a stored run can be scored with, and what they change of its configuration."""

import dataclasses
from pathlib import Path

import pytest

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.evaluate.overrides import compose, forbidden, with_data
from pipeline.runtime.errors import UserError

CLASSES = ["background", "cat", "dog"]
FOLDER = ["dataset=folder", "dataset.root=/other", "dataset.splits.val=val"]


@pytest.fixture(scope="module")
def stored() -> Config:
    named = f"dataset.classes=[{','.join(CLASSES)}]"
    return checked_config([*FOLDER, "dataset.root=/own", named, "loss.class_weights=median_frequency", "model.depth=3"])


def changed(stored: Config, *overrides: str) -> Config:
    return with_data(stored, compose(overrides), overrides)


def test_without_overrides_nothing_changes(stored: Config) -> None:
    assert changed(stored) == stored


def test_addresses_of_another_program_and_of_the_run_do_not_matter(
    stored: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "file:///x")
    there = dataclasses.replace(stored, tracking=dataclasses.replace(stored.tracking, uri="azureml://x"))
    for run in (stored, there):
        for overrides in (["data_dir=x"], ["evaluate.flip=true"], ["dataset.root=x"], ["dataset.colours=null"]):
            assert with_data(run, compose(overrides), overrides).tracking == run.tracking


def test_views_and_data_dir_change_alone(stored: Config) -> None:
    found = changed(stored, "evaluate.flip=true", "evaluate.window=64", "data_dir=elsewhere")
    evaluate = dataclasses.replace(stored.evaluate, flip=True, window=64)
    assert found == dataclasses.replace(stored, evaluate=evaluate, data_dir="elsewhere")


def test_another_folder_has_the_class_names_of_the_run(stored: Config) -> None:
    found = changed(stored, *FOLDER)
    assert (found.dataset.root, found.dataset.classes) == ("/other", CLASSES)
    named = changed(stored, *FOLDER, "dataset.classes=[a,b,c]")
    assert named.dataset.classes == ["a", "b", "c"]


@pytest.mark.parametrize("kind", [[], ["dataset=folder", "dataset.splits.val=val"]])
def test_another_folder_names_its_classes_in_its_file(stored: Config, kind: list[str], tmp_path: Path) -> None:
    """Otherwise dogs would be scored as cats where a folder has its classes in another order."""
    (tmp_path / "dataset.yaml").write_text("classes: [background, cat, wolf]\nbackground: null\n")
    found = changed(stored, *kind, f"dataset.root={tmp_path}").dataset
    assert (found.classes, found.background) == (["background", "cat", "wolf"], "background")
    (tmp_path / "dataset.yaml").write_text("classes: [background, dog, cat]\n")
    with pytest.raises(UserError, match="dog, cat: at another place than in the run"):
        changed(stored, *kind, f"dataset.root={tmp_path}")
    given = changed(stored, *kind, f"dataset.root={tmp_path}", "dataset.classes=[background,cat,dog]")
    assert given.dataset.classes == CLASSES


def test_images_of_another_folder_are_read_as_those_of_the_run(stored: Config) -> None:
    dataset = dataclasses.replace(stored.dataset, exif="apply", intensity=[0.0, 4095.0])
    turned = dataclasses.replace(stored, dataset=dataset)
    found = changed(turned, *FOLDER).dataset
    assert (found.root, found.exif, found.intensity) == ("/other", "apply", [0.0, 4095.0])
    found = changed(turned, *FOLDER, "dataset.exif=ignore", "dataset.intensity=null").dataset
    assert (found.exif, found.intensity) == ("ignore", None)


def test_the_background_is_that_of_the_run_by_its_index(stored: Config) -> None:
    assert changed(stored, *FOLDER).dataset.background == "background"
    assert changed(stored, *FOLDER, "dataset.classes=[a,b,c]").dataset.background == "a"
    assert changed(stored, "dataset.classes=[a,b,c]").dataset.background == "a"
    none = dataclasses.replace(stored, dataset=dataclasses.replace(stored.dataset, background=None))
    assert changed(none, *FOLDER).dataset.background is None
    assert changed(none, "dataset.splits.test=extra").dataset.background is None


def test_colours_and_background_can_be_given(stored: Config) -> None:
    """They change no score, so the loss stays as it was."""
    given = ["dataset.background=dog", 'dataset.colours=["#0000ff","#00ff00","#ff0000"]']
    shown = {"background": "dog", "colours": ["#0000ff", "#00ff00", "#ff0000"]}
    found = changed(stored, *given)
    assert found == dataclasses.replace(stored, dataset=dataclasses.replace(stored.dataset, **shown))
    assert changed(found, *FOLDER).dataset.colours == shown["colours"]
    assert changed(stored, *FOLDER, *given).dataset.colours == shown["colours"]
    assert changed(stored, *FOLDER, "dataset.background=null").dataset.background is None


def test_one_key_of_the_dataset_can_change(stored: Config) -> None:
    found = changed(stored, "dataset.splits.test=extra")
    splits = dataclasses.replace(stored.dataset.splits, test="extra")
    assert found.dataset == dataclasses.replace(stored.dataset, splits=splits)


def test_other_data_have_a_loss_without_class_weights(stored: Config) -> None:
    assert changed(stored, *FOLDER).loss == dataclasses.replace(stored.loss, class_weights="none")
    assert changed(stored, "evaluate.flip=true").loss == stored.loss


@pytest.mark.parametrize(
    ("overrides", "fault"),
    [
        ([*FOLDER, "dataset.classes=[a,b]"], "dataset.classes: 2 names, but the run has 3: background, cat, dog"),
        (["dataset=shapes"], "dataset.classes: 8 names, but the run has 3"),
        (["dataset.classes=[a,b]"], "dataset.classes: 2 names, but the run has 3"),
        (["dataset.classes=[background,dog,cat]"], "dataset.classes: dog, cat: at another place than in the run"),
        (["evaluate.window=20"], "evaluate.window=20: model.depth="),
        (["dataset.splits.test=a,b"], "dataset.splits.test=a,b: one value expected"),
        (["dataset.background=cat,dog"], "dataset.background=cat,dog: one value expected"),
        ([*FOLDER, "dataset.background=dgo"], "dataset.background=dgo: one of dataset.classes expected"),
        (["dataset.colours=[#ff0000]"], "dataset.colours=.#ff0000.: an element with special characters is quoted"),
    ],
)
def test_unusable_overrides_are_refused(stored: Config, overrides: list[str], fault: str) -> None:
    with pytest.raises(UserError, match=fault.replace("(", r"\(")):
        changed(stored, *overrides)


def test_only_data_and_views_can_differ() -> None:
    assert forbidden(["dataset=voc2012", "dataset.root=x", "data_dir=x", "evaluate.flip=true"], []) == []
    (depth,) = forbidden(["model.depth=3"], [])
    assert depth.startswith("model.depth=3: a stored run is scored as it was trained; only dataset")
    (misspelt,) = forbidden(["splitt=val"], ["split"])
    assert misspelt.endswith("(did you mean 'split'?)")
