"""`dataset.yaml` of a folder names its classes; it comes from strangers and changes nothing else."""

from pathlib import Path

import pytest

from pipeline.config.classes import VOC_NAMES
from pipeline.config.overrides import checked_config
from pipeline.config.schema_dataset import DatasetConfig
from pipeline.evaluate.overrides import compose, with_data
from pipeline.runtime.errors import UserError

FILE = """\
classes: [road, car, void_like]
background: null
colours: ['#102030', '#405060', '#708090']
made_of: {source: x, anything: [1, 2, {deep: er}]}
"""


def folder(tmp_path: Path, text: str = FILE) -> Path:
    (tmp_path / "dataset.yaml").write_text(text)
    return tmp_path


def dataset_of(root: Path, *overrides: str) -> DatasetConfig:
    return checked_config(["dataset=folder", f"dataset.root={root}", *overrides]).dataset


def faults_of(root: Path, *overrides: str) -> str:
    with pytest.raises(UserError) as raised:
        dataset_of(root, *overrides)
    return str(raised.value)


def test_classes_background_and_colours_come_from_the_folder(tmp_path: Path) -> None:
    found = dataset_of(folder(tmp_path))
    assert found.classes == ["road", "car", "void_like"] and found.background is None
    assert found.colours == ["#102030", "#405060", "#708090"]
    assert dataset_of(folder(tmp_path, "classes: [background, car]")).background == "background"


def test_what_is_typed_wins(tmp_path: Path) -> None:
    root = folder(tmp_path)
    found = dataset_of(root, "dataset.classes=[background,cat]")
    assert found.classes == ["background", "cat"] and found.colours is None and found.background == "background"
    found = dataset_of(root, "dataset.background=road", "dataset.colours=['#000001','#000002','#000003']")
    assert found.background == "road" and found.colours == ["#000001", "#000002", "#000003"]


def test_a_folder_without_the_file_has_the_classes_of_voc(tmp_path: Path) -> None:
    assert dataset_of(tmp_path).classes == list(VOC_NAMES)
    assert checked_config(["dataset=voc2012"]).dataset.classes == list(VOC_NAMES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [a, b]\nbatch_size: 1", "unknown key 'batch_size'; classes, background, colours, made_of expected"),
        ("names: [a, b]\nclases: [a]", "unknown key 'clases' (did you mean 'classes'?)"),
        ("classes: [a, no]", "classes: a list of texts expected; quotes make 'no' and '1' texts"),
        ("classes: []", "classes: a list of texts expected"),
        ("classes: [a, b]\nbackground: 0", "background: a class, or null, expected"),
        ("classes: [a, b]\nbackground: c", "dataset.background=c: one of dataset.classes expected"),
        ("classes: [a, b]\ncolours: ['#000001']", "dataset.colours: 1 colours for 2 classes"),
        ("classes: [a]", "dataset.classes: 1 names; 2 to 255 expected"),
        ("classes: &a [x, *a]", "plain keys and values expected, without types and aliases"),
        ("classes: !!python/tuple [a, b]", "plain keys and values expected"),
        ("[", "cannot be read: "),
        ("classes: [a, b] #" + "x" * 2**16, "more than 65536 bytes; give dataset.classes=[…] instead"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path: Path, text: str, message: str) -> None:
    assert message in faults_of(folder(tmp_path, text))


def test_its_faults_come_with_those_of_the_command_line(tmp_path: Path) -> None:
    message = faults_of(folder(tmp_path, "classes: 3"), "epochs=x")
    assert "epochs=x: a whole number expected" in message and "classes: a list of texts expected" in message


def test_other_data_are_scored_by_their_own_names(tmp_path: Path) -> None:
    stored = checked_config(["dataset=folder", f"dataset.root={tmp_path}", "dataset.classes=[road,car,bus]"])
    overrides = ["dataset=folder", f"dataset.root={folder(tmp_path)}"]
    assert with_data(stored, compose(overrides), overrides).dataset.classes == ["road", "car", "void_like"]
    overrides = ["dataset=folder", f"dataset.root={folder(tmp_path, 'classes: [car, road, bus]')}"]
    with pytest.raises(UserError, match="car, road: at another place than in the run"):
        with_data(stored, compose(overrides), overrides)
