"""The schema: the range of each value, and what is said about each key."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.keys import leaves
from pipeline.config.schema import ENCODERS, Config
from pipeline.config.validation import check
from pipeline.runtime.text import one_of
from tests.configs import DEFAULT, config_with

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

NAMES = ("BatchNormalization", "CPU", "MLflow", "MiB", "Nesterov", "Optuna")  # may start a description


def test_every_key_says_what_it_means() -> None:
    for name, item, _ in leaves(Config):
        assert len(item.metadata["description"]) > 8, name
        description = item.metadata["description"]
        assert description[0].islower() or description.startswith(NAMES), name
