"""Which class is the background, and what colours of classes may be: in commands and in stored configurations."""

import pytest
from omegaconf import OmegaConf

from pipeline.config.classes import hexadecimal, voc_colour
from pipeline.config.fingerprint import fingerprint
from pipeline.config.overrides import checked_config
from pipeline.config.schema_dataset import DatasetConfig
from pipeline.config.stored import parse_config
from pipeline.runtime.errors import UserError

STREETS = "dataset.classes=[road,sky,car]"
WRITTEN = "'#rrggbb' expected, such as '#ff8000'"
COLOURS = 'dataset.colours=["#804080","#4682B4","#00008e"]'


def dataset(*overrides: str) -> DatasetConfig:
    return checked_config(list(overrides)).dataset


@pytest.mark.parametrize("name", ["shapes", "voc2007", "voc2012", "folder"])
def test_every_choice_of_conf_has_its_first_class_as_background(name: str) -> None:
    found = dataset(f"dataset={name}", "dataset.root=x")
    assert found.background == found.classes[0] == "background" and found.colours is None


@pytest.mark.parametrize(
    ("classes", "background"),
    [
        ("background,cat", "background"),
        ("cat,Background", "Background"),
        ("cat,_background_", "_background_"),
        ("road,sky,car", None),
        ("backgrounds,cat", None),
    ],
)
def test_auto_is_the_class_called_background(classes: str, background: str | None) -> None:
    assert dataset(f"dataset.classes=[{classes}]").background == background


def test_any_class_or_none_can_be_the_background() -> None:
    assert dataset(STREETS, "dataset.background=sky").background == "sky"
    assert dataset("dataset.background=null").background is None


def test_an_unknown_background_is_refused() -> None:
    with pytest.raises(UserError) as raised:
        dataset(STREETS, "dataset.background=rod")
    assert raised.value.faults == (
        "dataset.background=rod: one of dataset.classes expected, or null if none of them is the background "
        "(did you mean 'road'?)",
    )


@pytest.mark.parametrize(
    ("colours", "fault"),
    [
        ('["#804080"]', "1 colours for 3 classes; one for each of dataset.classes, in their order, expected, or null"),
        ('["#804080","4682b4","#00008e"]', f"sky has 4682b4; {WRITTEN} (did you mean '#4682b4'?)"),
        ('["#804080","#fa0","#00008e"]', f"sky has #fa0; {WRITTEN} (did you mean '#ffaa00'?)"),
        ('["#804080","blue","#00008e"]', f"sky has blue; {WRITTEN}"),
        ('["#804080","#00008E","#00008e"]', "sky, car have the same colour, #00008e; different ones expected"),
        ('["#804080","#E0E0C0","#00008e"]', "sky has #e0e0c0, the colour of void pixels; another one expected"),
    ],
)
def test_unusable_colours_are_refused(colours: str, fault: str) -> None:
    with pytest.raises(UserError) as raised:
        dataset(STREETS, f"dataset.colours={colours}")
    assert raised.value.faults == (f"dataset.colours: {fault}",)


def test_advice_for_unquoted_colours_works() -> None:
    with pytest.raises(UserError) as raised:
        dataset(STREETS, "dataset.colours=[#804080,#4682B4,#00008e]")
    (fault,) = raised.value.faults
    assert fault.endswith(f"'{COLOURS}'")
    assert dataset(STREETS, COLOURS).colours == ["#804080", "#4682B4", "#00008e"]


def test_colours_change_no_fingerprint_and_the_background_does() -> None:
    plain, coloured, sky = (checked_config([STREETS, *more]) for more in ([], [COLOURS], ["dataset.background=sky"]))
    assert fingerprint(plain, "d", None) == fingerprint(coloured, "d", None) != fingerprint(sky, "d", None)


def test_auto_and_the_name_it_stands_for_are_the_same_run() -> None:
    assert checked_config([]) == checked_config(["dataset.background=background"])


# ---- stored by earlier versions, without the keys


def stored_without_keys(classes: list[str]) -> DatasetConfig:
    names = ",".join(classes)
    tree = OmegaConf.structured(checked_config([f"dataset.classes=[{names}]"]))
    content = OmegaConf.to_container(tree)
    assert isinstance(content, dict)
    del content["dataset"]["background"], content["dataset"]["colours"]
    return parse_config(OmegaConf.to_yaml(OmegaConf.create(content)), "here").dataset


def test_a_run_stored_without_the_key_has_class_0_as_background() -> None:
    found = stored_without_keys(["road", "sky", "background"])
    assert found.background == "road" and found.colours is None


def test_a_run_stored_without_the_key_has_the_colours_of_voc() -> None:
    found = stored_without_keys([f"c{index}" for index in range(30)])
    assert found.background == "c0"
    assert found.colours == [hexadecimal(voc_colour(index)) for index in range(30)]


def test_a_run_without_a_background_is_read_back_as_one() -> None:
    config = checked_config([STREETS, COLOURS])
    assert config.dataset.background is None
    assert parse_config(OmegaConf.to_yaml(OmegaConf.structured(config)), "here") == config
