"""The files of conf/: what they open with, what they compose to, and which of them are choices."""

import dataclasses
import shlex
from pathlib import Path

import pytest
from omegaconf import DictConfig, OmegaConf

from pipeline.config import hydra_files
from pipeline.config.help_text import help_text
from pipeline.config.hydra_files import CONF, compose_overrides, groups, written_keys
from pipeline.config.keys import flatten
from pipeline.config.overrides import checked_config
from pipeline.config.schema import ENCODERS
from pipeline.config.validation import typed
from tests.configs import DEFAULT, KEYS

FILES = sorted(CONF.rglob("*.yaml"))
CHOICES = [(group, choice) for group, choices in groups().items() for choice in choices]


def commands_of(path: Path) -> list[list[str]]:
    """The arguments of the commands that a file opens with; two spaces separate a command from a remark."""
    lines = path.read_text().splitlines()
    opening = [line for line in lines[:4] if line.startswith("# ") and not line.startswith("# @package")]
    commands = [line[2:].split("  ")[0] for line in opening if line.startswith("# python run.py")]
    assert "".join(opening[:1]).startswith("# python run.py"), f"{path} does not open with a command"
    return [shlex.split(command)[2:] for command in commands]


@pytest.mark.parametrize("path", FILES, ids=[str(path.relative_to(CONF)) for path in FILES])
def test_every_file_opens_with_the_command_that_uses_it(path: Path) -> None:
    for arguments in commands_of(path):
        if path.parent != CONF:
            assert f"{path.parent.relative_to(CONF).as_posix()}={path.stem}" in arguments
        overrides = [argument for argument in arguments if not argument.startswith("-") and argument != "job"]
        config = checked_config(overrides)
        if path.name == "config.yaml":
            assert config == DEFAULT
        elif path.name == "pretrained_unet.yaml":
            assert config.model.name.removeprefix("unet_") in ENCODERS
        elif path.parent.name in ("dataset", "model", "optimizer", "schedule"):
            assert getattr(config, path.parent.name).name == path.stem


def test_every_file_of_a_group_is_a_choice() -> None:
    assert {(path.parent.name, path.stem) for path in FILES if path.parent.parent == CONF} == set(CHOICES)


def test_classic_is_the_plain_recipe() -> None:
    config = checked_config(["experiment=classic"])
    assert (config.image_size, config.batch_size, config.epochs) == (256, 16, 10)
    assert (config.model.width, config.model.norm, config.model.upsampling) == (64, "none", "nearest")
    assert config.optimizer.name == "adam"
    assert config.schedule.name == "constant"
    assert (config.loss.cross_entropy, config.loss.dice, config.loss.focal_gamma) == (1, 0, 0)
    assert config.augment.scale == [1, 1]
    assert not config.augment.flip
    assert checked_config(["experiment=classic", "dataset=voc2012"]).dataset.name == "voc2012"


def test_few_images_are_a_folder_and_a_length_in_steps() -> None:
    few = checked_config(["experiment=few_images", "dataset.root=/my/VOC"])
    assert (few.dataset.name, few.steps, few.epochs) == ("folder", 600, 10)
    assert few.model.name == "unet_efficientnet_lite2"
    assert (few.optimizer.encoder_rate, few.model.encoder_norm, few.optimizer.ema) == (0.05, "frozen", 0.99)
    assert checked_config(["experiment=few_images", "dataset=voc2012"]).dataset.name == "voc2012"
    for name in ("one_step", "overfit"):
        assert checked_config(["experiment=few_images", "dataset=shapes", f"debug={name}"]).steps is None
    # An average over a hundred steps says late what is learnt in two steps an epoch.
    assert checked_config(["experiment=few_images", "dataset=shapes", "debug=overfit"]).optimizer.ema is None


@pytest.mark.parametrize("others", [["experiment=voc2012"], ["augment=strong", "schedule=poly"]])
def test_overfit_neither_augments_nor_schedules_whatever_an_experiment_sets(others: list[str]) -> None:
    overfit = checked_config([*others, "dataset=shapes", "debug=overfit"])
    assert overfit.augment == checked_config(["augment=none"]).augment
    assert overfit.schedule == checked_config(["schedule=constant"]).schedule
    assert checked_config([*others, "dataset=shapes", "debug=overfit", "augment.rotate=5"]).augment.rotate == 5


def test_presets_of_augmentation() -> None:
    standard, turned, strong = (
        checked_config([f"augment={name}"]).augment for name in ("standard", "any_orientation", "strong")
    )
    assert dataclasses.replace(turned, rotate=0.0) == standard
    assert strong.flip and not strong.flip_vertical and strong.cutmix == 0
    assert min(strong.rotate, strong.shear, strong.elastic, strong.blur, strong.noise, strong.jpeg or 0) > 0


# ---- what the encoders share


def test_there_is_a_file_for_each_encoder() -> None:
    assert groups()["model"] == sorted(["unet", *(f"unet_{encoder}" for encoder in ENCODERS)])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_an_encoders_file_only_sets_what_differs(encoder: str) -> None:
    file = OmegaConf.load(CONF / f"model/unet_{encoder}.yaml")
    assert isinstance(file, DictConfig) and set(file) == {"defaults", "name"}
    model = OmegaConf.to_container(compose_overrides([f"model=unet_{encoder}"]).model)
    assert model == {
        "name": f"unet_{encoder}",
        "depth": 5,
        "width": 16,
        "norm": "batch",
        "dropout": 0.0,
        "upsampling": "bilinear",
        "encoder_weights": "imagenet",
        "encoder_norm": "batch",
        "logits": "every_level",
    }


def test_their_base_is_not_a_choice() -> None:
    assert "pretrained_unet" not in help_text()
    assert not [choice for _, choice in CHOICES if choice.startswith("pretrained")]


# ---- which keys a choice sets


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_a_choice_changes_no_key_but_those_it_sets(group: str, choice: str) -> None:
    changed, default = flatten(typed(compose_overrides([f"{group}={choice}"]))), flatten(DEFAULT)
    written = set(written_keys(group, choice))
    assert {key for key in changed if changed[key] != default[key]} <= written <= set(KEYS)


def test_written_keys_follow_the_defaults_list() -> None:
    model = {"model.name", "model.depth", "model.width", "model.norm", "model.dropout", "model.upsampling"}
    model |= {"model.logits", "model.encoder_weights"}
    assert set(written_keys("model", "unet")) == set(written_keys("model", "unet_vgg16")) == model
    sbd = set(written_keys("experiment", "voc2012_sbd"))
    assert sbd == {"dataset.splits.extra", *written_keys("experiment", "voc2012")}
    assert sbd > {"dataset.classes", "image_size", *model}


# ---- composing


def test_a_composed_configuration_is_the_callers_own() -> None:
    first = compose_overrides(["model=unet"])
    first.model.depth = 7
    assert compose_overrides(["model=unet"]).model.depth == 4


def test_another_conf_is_composed_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in FILES:
        copied = tmp_path / path.relative_to(CONF)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_text(path.read_text().replace("epochs: 8", "epochs: 5"))
    assert compose_overrides([]).epochs == 8
    monkeypatch.setattr(hydra_files, "CONF", tmp_path)
    assert compose_overrides([]).epochs == 5
