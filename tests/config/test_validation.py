"""Values of a configuration that cannot work, alone or together."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.validation import check
from tests.configs import config_with


@pytest.mark.parametrize(
    ("size", "depth", "valid"), [(100, 4, "96 or 112"), (20, 5, "32"), (255, 8, "256"), (9, 1, "8 or 10")]
)
def test_image_size_that_depth_cannot_halve(size: int, depth: int, valid: str) -> None:
    assert check(config_with(image_size=size, model__depth=depth)) == [
        f"image_size={size}: model.depth={depth} halves it {depth} times, "
        f"so it must be a multiple of {2**depth}: {valid}"
    ]


@given(st.integers(8, 600), st.integers(1, 8))
def test_every_other_image_size_passes(size: int, depth: int) -> None:
    assert (check(config_with(image_size=size, model__depth=depth)) == []) == (size % 2**depth == 0)


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        (
            {"optimizer__momentum": 0.9},
            "optimizer.momentum=0.9: only optimizer=sgd has it, not adam",
        ),
        (
            {"optimizer__name": "adamw", "optimizer__momentum": 0.9},
            "optimizer.momentum=0.9: only optimizer=sgd has it, not adamw",
        ),
        (
            {"optimizer__weight_decay": 0.1},
            "optimizer.weight_decay=0.1: adam has none; choose optimizer=adamw or sgd",
        ),
        (
            {"schedule__power": 0.9},
            "schedule.power=0.9: a number expected for schedule=poly, null for the others",
        ),
        (
            {"schedule__name": "poly"},
            "schedule.power=null: a number expected for schedule=poly, null for the others",
        ),
        (
            {"schedule__warmup_epochs": 8.0},
            "schedule.warmup_epochs=8.0: less than epochs=8 expected",
        ),
        (
            {"loss__cross_entropy": 0.0},
            "loss.cross_entropy=0 and loss.dice=0: one of them must be above 0",
        ),
        (
            {"loss__cross_entropy": 0.0, "loss__dice": 1.0, "loss__focal_gamma": 2.0},
            "loss.focal_gamma and loss.class_weights act on the cross-entropy: loss.cross_entropy must be above 0",
        ),
        (
            {"loss__cross_entropy": 0.0, "loss__dice": 1.0, "loss__class_weights": "median_frequency"},
            "loss.focal_gamma and loss.class_weights act on the cross-entropy: loss.cross_entropy must be above 0",
        ),
        (
            {"dataset__classes": ["background", "cat", "dog", "cat", "dog"]},
            "dataset.classes: more than once: cat, dog; each name once expected",
        ),
        (
            {"dataset__classes": ["background", " "]},
            "dataset.classes: a blank name; write every class's name",
        ),
        (
            {"dataset__fold": 1},
            "dataset.fold=1: is one of several: dataset.folds=<their number> expected as well",
        ),
        (
            {"dataset__folds": 3},
            "dataset.folds=3: dataset.fold, 0 to 2, says which one is val; for all of them: "
            "python run.py -m dataset.folds=3 'dataset.fold=0,1,2'",
        ),
        ({"dataset__folds": 3, "dataset__fold": 3}, "dataset.fold=3: 0 to 2 expected, as dataset.folds=3"),
        (
            {"dataset__group": "video"},
            r"dataset.group=video: has no group; parentheses around what stays together expected: '^(\w+)_'",
        ),
        (
            {"dataset__group": "(a"},
            "dataset.group=(a: is not a regular expression: missing ), unterminated subpattern at position 0",
        ),
        ({"dataset__group": "(a)" * 80}, "dataset.group: 240 characters; at most 200 expected"),
        (
            {"dataset__classes": ["background"]},
            "dataset.classes: 1 names; 2 to 255 expected",
        ),
        (
            {"dataset__classes": [f"class {index}" for index in range(256)], "dataset__background": None},
            "dataset.classes: 256 names; 2 to 255 expected",
        ),
        (
            {"dataset__name": "folder"},
            "dataset.root=null: dataset=folder needs the folder that holds JPEGImages/ and the others",
        ),
    ],
)
def test_contradictory_values(values: dict[str, Any], fault: str) -> None:
    assert check(config_with(**values)) == [fault]


@pytest.mark.parametrize("scale", [[2.0, 0.5], [1.0], [], [0.5, 1.0, 2.0], [0.0, 1.0], [1.0, 21.0], [math.nan, 1.0]])
def test_scale_is_a_least_and_a_greatest_zoom(scale: list[float]) -> None:
    expected = "[least, greatest] between 0.05 and 20 expected, for example [0.5, 2]"
    assert check(config_with(augment__scale=scale)) == [f"augment.scale={scale}: {expected}"]


@pytest.mark.parametrize("bounds", [[], [5.0], [5.0, 5.0], [9.0, 1.0], [-1.0, 9.0], [0.0, 65536.0], [0.0, math.nan]])
def test_intensity_is_a_range_of_16_bits(bounds: list[float]) -> None:
    (fault,) = check(config_with(dataset__intensity=bounds))
    assert fault.endswith(
        ": null, or [low,high] with 0 <= low < high <= 65535 expected, for example [0,4095] for 12 bits"
    )
    assert check(config_with(dataset__intensity=[0.0, 65535.0])) == []


def test_steps_are_a_multiple_of_epochs() -> None:
    (fault,) = check(config_with(epochs=8, steps=100))
    assert fault == "steps=100: epochs=8 equal parts need a multiple of 8: 96 or 104"
    (fault,) = check(config_with(epochs=8, steps=7))
    assert fault == "steps=7: epochs=8 equal parts need a multiple of 8: 8, or fewer epochs"
    assert check(config_with(epochs=8, steps=104)) == []


def test_cutmix_needs_more_than_one_image() -> None:
    (fault,) = check(config_with(batch_size=1, augment__cutmix=0.5))
    assert fault.startswith("augment.cutmix=0.5: pastes from the batch's next crop, and batch_size=1 has none")
    assert check(config_with(batch_size=1)) == check(config_with(batch_size=2, augment__cutmix=0.5)) == []


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("dataset__classes", [[], []], "dataset.classes=[[],[]]"),
        ("dataset__classes", ["a", {"b": 1}], "dataset.classes=[a,{'b': 1}]"),
        ("augment__scale", [[1.0], 2.0], "augment.scale=[[1.0],2.0]"),
        ("sweep__objectives", [["\x1b"]], "sweep.objectives=[[\\x1b]]"),
    ],
)
def test_a_list_within_a_list_is_refused(key: str, value: Any, text: str) -> None:
    assert check(config_with(**{key: value})) == [f"{text}: a list of single values expected"]


@pytest.mark.parametrize("scales", [[], [0.05], [1.0, 11.0], [1.0, 1.0], [math.nan]])
def test_evaluation_scales_are_different_numbers(scales: list[float]) -> None:
    expected = "different numbers from 0.1 to 10 expected, for example [0.75, 1, 1.25]"
    assert check(config_with(evaluate__scales=scales)) == [f"evaluate.scales={scales}: {expected}"]


def test_a_window_that_depth_cannot_halve() -> None:
    assert check(config_with(evaluate__window=24)) == ["evaluate.window=24: model.depth=4 needs a multiple of 16"]
    assert check(config_with(evaluate__window=32)) == []


@pytest.mark.parametrize(
    ("values", "fault"),
    [
        ({"objectives": []}, "sweep.objectives=[]: one or more different metrics expected"),
        ({"objectives": ["a", "a"]}, "sweep.objectives=['a', 'a']: one or more different metrics expected"),
        (
            {"objectives": ["val/loss", "test/mean_iou"]},
            "sweep.objectives: test/mean_iou is a test score, which must not steer a search; val/… expected",
        ),
        (
            {"objectives": ["a", "b"], "sampler": "cmaes"},
            "sweep.sampler=cmaes: works with one objective, not 2; nsga2 or tpe expected",
        ),
        (
            {"objectives": ["a", "b"], "pruner": "median"},
            "sweep.pruner=median: works with one objective, not 2; none expected",
        ),
        ({"name": "a/b"}, "sweep.name=a/b: up to 100 letters, digits, '.', '_' and '-' expected"),
    ],
)
def test_sweep_settings(values: dict[str, Any], fault: str) -> None:
    assert check(config_with(**{f"sweep__{key}": value for key, value in values.items()})) == [fault]


# ---- encoders


def test_settings_of_an_encoder_are_refused_without_one() -> None:
    faults = check(config_with(model__encoder_norm="frozen", optimizer__encoder_rate=0.1))
    assert faults == [
        "model.encoder_norm=frozen: only a pretrained encoder, model=unet_<encoder>, has it; batch expected",
        "optimizer.encoder_rate=0.1: only a pretrained encoder, model=unet_<encoder>, has it; 1 expected",
    ]


def test_a_random_encoder_is_not_frozen() -> None:
    frozen = {"model__name": "unet_vgg16", "optimizer__encoder_rate": 0}
    assert check(config_with(**frozen)) == [
        "optimizer.encoder_rate=0: the encoder would stay random (model.encoder_weights=null); more "
        "than 0 expected, or model.encoder_weights=imagenet, or init_from=<run id>"
    ]
    for changed in ({"model__encoder_weights": "imagenet"}, {"init_from": "0" * 32}, {"optimizer__encoder_rate": 0.1}):
        assert check(config_with(**frozen | changed)) == []


def test_untrained_normalisation_is_not_frozen() -> None:
    frozen = {"model__name": "unet_vgg16", "model__encoder_norm": "frozen"}
    (fault,) = check(config_with(**frozen))
    assert fault.startswith("model.encoder_norm=frozen: the statistics would keep their initial values")
    for changed in ({"model__encoder_weights": "imagenet"}, {"init_from": "0" * 32}):
        assert check(config_with(**frozen | changed)) == []


def test_a_file_of_weights_that_is_not_used_is_refused() -> None:
    both = {"model__name": "unet_vgg16", "init_from": "0" * 32, "model__encoder_weights": "a.h5"}
    (fault,) = check(config_with(**both))
    assert fault == (
        "model.encoder_weights=a.h5: the file would not be used, since init_from="
        f"{'0' * 32} replaces its weights; one of them expected"
    )
