"""The schema, its range checks, and the files of conf/."""

import math
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.hydra_files import CONF, groups
from pipeline.config.keys import allowed, flatten, leaves
from pipeline.config.overrides import checked_config
from pipeline.config.schema import ENCODERS, Config
from pipeline.config.validation import check
from pipeline.runtime.text import nearest, one_of
from tests.configs import DEFAULT, config_with

FILES = sorted(CONF.rglob("*.yaml"))
# ---- conf/


def commands_of(path: Path) -> list[list[str]]:
    """The arguments of the commands that a file opens with; two spaces part a command from what is said about it."""
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
        if path.parent == CONF:
            assert config == DEFAULT
        elif path.parent.name in ("dataset", "model", "optimizer", "schedule"):
            assert getattr(config, path.parent.name).name == path.stem


def test_every_file_is_a_choice() -> None:
    assert {(path.parent.name, path.stem) for path in FILES if path.parent.parent == CONF} == {
        (group, name) for group, names in groups().items() for name in names
    }


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


# ---- one value


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("epochs", -3, "at least 1"),
        ("epochs", 0, "at least 1"),
        ("batch_size", 0, "at least 1"),
        ("image_size", 7, "at least 8"),
        ("long_side", 7, "at least 8"),
        ("seed", -1, "at least 0 and at most 2147483647"),
        ("seed", 2**31, "at least 0 and at most 2147483647"),
        ("cache_mb", -1, "at least 0"),
        ("early_stopping", 0, "at least 1"),
        ("threads", 0, "auto or at least 1 and at most 4096"),
        ("threads", "many", "auto or at least 1 and at most 4096"),
        ("threads", "4", "auto or at least 1 and at most 4096"),
        ("precision", "float16", "auto, float32, mixed_bfloat16 or mixed_float16"),
        ("model.width", 0, "at least 1"),
        ("model.depth", 0, "at least 1 and at most 8"),
        ("model.depth", 9, "at least 1 and at most 8"),
        ("model.dropout", 1.0, "at least 0 and less than 1"),
        ("model.dropout", -0.1, "at least 0 and less than 1"),
        ("model.norm", "layer", "batch, group or none"),
        ("model.name", "vgg", one_of(["unet", *(f"unet_{encoder}" for encoder in ENCODERS)])),
        ("optimizer.learning_rate", 0.0, "more than 0"),
        ("optimizer.learning_rate", math.nan, "a finite number"),
        ("optimizer.learning_rate", math.inf, "a finite number"),
        ("optimizer.clip_norm", 0.0, "more than 0"),
        ("optimizer.ema", 1.0, "more than 0 and less than 1"),
        ("schedule.warmup_epochs", -1.0, "at least 0"),
        ("loss.dice", -1.0, "at least 0"),
        ("loss.class_weights", "median", "none or median_frequency"),
        ("augment.hue", 0.6, "at least 0 and at most 0.5"),
        ("dataset.val_fraction", 0.0, "more than 0 and less than 1"),
        ("dataset.val_fraction", 1.0, "more than 0 and less than 1"),
        ("evaluate.batch_size", 0, "at least 1"),
        ("evaluate.overlays", -1, "at least 0"),
        ("checkpoint.every_steps", 0, "at least 1"),
        ("checkpoint.keep", 0, "at least 1"),
        ("checkpoint.upload", "always", "best, end or epoch"),
    ],
)
def test_value_outside_its_range(key: str, value: Any, expected: str) -> None:
    (fault,) = check(config_with(**{key.replace(".", "__"): value}))
    close = fault.removeprefix(f"{key}={value}: {expected} expected")
    assert close != fault
    assert close == "" or close.startswith(" (did you mean '")


@given(st.sampled_from([name for name, _, value in leaves(DEFAULT) if isinstance(value, float)]))
def test_no_number_may_be_nan(key: str) -> None:
    faults = check(config_with(**{key.replace(".", "__"): math.nan}))
    assert f"{key}=nan: a finite number expected" in faults


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seed", 2**31 - 1),
        ("seed", 0),
        ("threads", 1),
        ("threads", "auto"),
        ("model.dropout", 0.0),
        ("augment.hue", 0.5),
        ("long_side", None),
        ("early_stopping", None),
        ("checkpoint.every_steps", None),
        ("checkpoint.every_steps", 1),
        ("checkpoint.keep", 1),
        ("threads", 4096),
        ("image_size", 16),
        ("schedule.warmup_epochs", 7.9),
    ],
)
def test_value_at_the_edge_of_its_range(key: str, value: Any) -> None:
    assert check(config_with(**{key.replace(".", "__"): value})) == []


# ---- the schema


def test_every_key_says_what_it_means() -> None:
    for name, item, _ in leaves(Config):
        assert len(item.metadata["description"]) > 8, name
        assert item.metadata["description"][0].islower() or item.metadata["description"].startswith(
            ("MLflow", "Nesterov")
        ), name


def test_leaves_of_the_class_are_those_of_a_configuration() -> None:
    assert [name for name, _, _ in leaves(Config)] == list(flatten(DEFAULT))


def test_flatten_keeps_values_as_they_are() -> None:
    flat = flatten(DEFAULT)
    assert flat["model.depth"] == 4
    assert flat["dataset.splits.val"] == "val"
    assert flat["long_side"] == 64
    assert flat["dataset.classes"][0] == "background"
    assert flat["tracking.uri"] is None


def test_words_for_what_is_allowed() -> None:
    limits = {"choices": (), "least": None, "above": 0, "most": 5, "below": None}
    assert allowed(limits) == "more than 0 and at most 5"
    assert allowed({**limits, "choices": ("a", "b", "c")}) == "a, b or c or more than 0 and at most 5"
    assert [one_of(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a or b", "a, b or c"]


def test_nearest_is_silent_where_nothing_is_alike() -> None:
    assert nearest("dept", ["width", "depth"]) == " (did you mean 'depth'?)"
    assert nearest("zzz", ["width", "depth"]) == nearest("zzz", []) == ""
