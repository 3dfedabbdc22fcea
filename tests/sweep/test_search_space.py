"""Hydra's override syntax becomes Optuna's distributions, and what is drawn becomes overrides again."""

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from pipeline.config.overrides import checked_config
from pipeline.runtime.errors import UserError
from pipeline.sweep.grid import combinations
from pipeline.sweep.search_space import SearchSpace, search_space


def space_of(*overrides: str) -> SearchSpace:
    return search_space(OverridesParser.create().parse_overrides(list(overrides)))


@pytest.mark.parametrize(
    ("override", "distribution"),
    [
        ("optimizer.learning_rate=interval(0.001,0.1)", FloatDistribution(0.001, 0.1)),
        ("optimizer.learning_rate=tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("model.width=interval(8,64)", IntDistribution(8, 64)),
        ("model.width=tag(log,interval(8,64))", IntDistribution(8, 64, log=True)),
        ("model.depth=range(2,5)", IntDistribution(2, 4)),
        ("batch_size=range(8,33,8)", IntDistribution(8, 32, step=8)),
        ("batch_size=range(32,7,-8)", IntDistribution(8, 32, step=8)),
        ("model.dropout=range(0,0.5,0.25)", FloatDistribution(0.0, 0.25, step=0.25)),
        ("model.norm=batch,group", CategoricalDistribution(["batch", "group"])),
        ("model.depth=choice(2,4,2)", CategoricalDistribution(["2", "4"])),
        ("augment.scale=[1,1],[0.5,2]", CategoricalDistribution(["[1,1]", "[0.5,2]"])),
    ],
)
def test_distribution_of_an_override(override: str, distribution: BaseDistribution) -> None:
    space = space_of(override, "seed=3")
    assert space.distributions == {override.partition("=")[0]: distribution}
    assert space.fixed == {"seed": "3"}


def test_every_choice_of_some_keys_is_a_trial() -> None:
    """Such as those of data, which are checked before the search."""
    space = space_of("dataset.folds=2", "dataset.fold=range(0,2)", "experiment=a,b", "seed=0,1", "model.width=8")
    fixed = ["dataset.folds=2", "model.width=8"]
    assert space.choices(("dataset", "experiment")) == [
        [*fixed, f"dataset.fold={fold}", f"experiment={name}"] for fold in (0, 1) for name in "ab"
    ]
    assert space.choices(("debug",)) == [fixed]
    ends = space_of("dataset.limit=interval(10,900)", "dataset.val_fraction=interval(0.1,0.3)")
    assert ends.choices(("dataset.limit",)) == [["dataset.limit=10"], ["dataset.limit=900"]]
    assert ends.choices(("dataset.val_fraction",)) == [["dataset.val_fraction=0.1"], ["dataset.val_fraction=0.3"]]


def test_drawn_parameters_become_overrides() -> None:
    space = space_of(
        "model.width=interval(8,64)", "optimizer.learning_rate=interval(1e-4,1)", "seed=1", "loss=dice,focal"
    )
    drawn = {"model.width": 12, "optimizer.learning_rate": 0.00025, "loss": "dice"}
    assert space.overrides(drawn) == ["seed=1", "model.width=12", "optimizer.learning_rate=0.00025", "loss=dice"]
    assert checked_config(space.overrides(drawn)).optimizer.learning_rate == 0.00025


def test_the_last_of_repeated_overrides_counts() -> None:
    assert space_of("seed=1,2", "seed=5", "model.depth=2,3").fixed == {"seed": "5"}


@pytest.mark.parametrize(
    ("override", "fault"),
    [
        ("seed=3", "sweep=optuna: there is nothing to search"),
        ("seed=choice(3)", "sweep=optuna: there is nothing to search"),
        ("model.norm=tag(log,choice(batch,group))", "tag(log, …) is for an interval or a range"),
        ("batch_size=tag(log,range(8,33,8))", "batch_size=tag(log,range(8,33,8)): "),
    ],
)
def test_overrides_that_cannot_be_searched_are_refused(override: str, fault: str) -> None:
    with pytest.raises(UserError) as refused:
        space_of(override)
    assert fault in str(refused.value)


# ---- the grid


def test_a_grid_has_every_combination_and_its_varying_values() -> None:
    parsed = OverridesParser.create().parse_overrides(["epochs=2", "model.depth=2,3", "seed=range(0,2)", "loss=dice"])
    found = combinations(parsed)
    assert [trial.values for trial in found] == [
        {"model.depth": depth, "seed": seed} for depth in ("2", "3") for seed in ("0", "1")
    ]
    assert found[3].overrides == ["epochs=2", "model.depth=3", "seed=1", "loss=dice"]


def test_a_grid_without_swept_values_is_one_trial() -> None:
    (only,) = combinations(OverridesParser.create().parse_overrides(["epochs=2"]))
    assert (only.overrides, only.values) == (["epochs=2"], {})
