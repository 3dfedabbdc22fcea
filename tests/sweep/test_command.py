"""What makes a sweep, and a trial, the same from one start to the next."""

import dataclasses

import pytest

from pipeline.config.keys import short_names
from pipeline.config.overrides import checked_config
from pipeline.sweep.command import label, sources_and_defaults, sweep_name, trial_name

DEFAULT = checked_config([])


def test_a_sweep_is_named_after_its_experiment_and_what_was_typed() -> None:
    name = sweep_name(DEFAULT, ["seed=0,1", "model.depth=2,3"])
    assert name.startswith("segmentation-") and len(name) == len("segmentation-") + 8
    assert name == sweep_name(DEFAULT, ["model.depth=2,3", "seed=0,1"])
    assert name != sweep_name(DEFAULT, ["model.depth=2,3", "seed=0,1,2"])


@pytest.mark.parametrize(
    "more",
    ["tracking.uri=http://there", "tracking=server", "sweep.max_failures=3", "sweep.retry_failed=true",
     "hydra.sweeper.n_trials=5", "hydra/launcher=joblib"],
)  # fmt: skip
def test_what_changes_no_trial_is_not_in_the_name(more: str) -> None:
    assert sweep_name(DEFAULT, ["seed=0,1", more]) == sweep_name(DEFAULT, ["seed=0,1"])


def test_what_is_searched_for_is_in_the_name_but_not_in_a_trial() -> None:
    assert sweep_name(DEFAULT, ["seed=0,1", "sweep=optuna"]) != sweep_name(DEFAULT, ["seed=0,1"])
    assert trial_name(["seed=1", "sweep=optuna", "sweep.name=a", "tracking.uri=x"]) == trial_name(["seed=1"])


def test_a_configured_name_wins() -> None:
    config = dataclasses.replace(DEFAULT, sweep=dataclasses.replace(DEFAULT.sweep, name="mine"))
    assert sweep_name(config, ["seed=0,1"]) == "mine"


def test_a_trial_is_known_by_its_overrides_in_any_order() -> None:
    assert trial_name(["seed=1", "epochs=2"]) == trial_name(["epochs=2", "seed=1"]) == "epochs=2 seed=1"
    assert trial_name(["epochs=3", "seed=1"]) != trial_name(["epochs=2", "seed=1"])
    assert trial_name([]) == "defaults"


def test_a_long_trial_fits_into_a_tag_and_is_still_told_apart() -> None:
    long = [f"dataset.classes=[{','.join(f'class{number}' for number in range(1000))}]"]
    assert len(trial_name([*long, "seed=1"])) < 5000
    assert trial_name([*long, "seed=1"]) != trial_name([*long, "seed=2"])


def test_names_of_parameters_are_as_short_as_they_can_be() -> None:
    assert short_names(["model.depth", "seed", "+model.width"]) == {
        "model.depth": "depth", "seed": "seed", "+model.width": "width",
    }  # fmt: skip
    assert short_names(["model.name", "loss.name"]) == {"model.name": "model.name", "loss.name": "loss.name"}


def test_a_label_shows_values_without_quotes_and_noise() -> None:
    values = {"optimizer.learning_rate": "0.08698710713937728", "model.norm": "'batch'", "seed": "2"}
    assert label(values) == "learning_rate=0.08699 norm=batch seed=2"
    assert label({}) == ""


def test_code_and_defaults_are_watched_but_not_what_only_tracks() -> None:
    watched = sources_and_defaults()
    assert {"model/unet.py", "conf/config.yaml", "conf/model/unet.yaml"} <= watched.keys()
    assert not [name for name in watched if name.startswith(("tracking/", "sweep/", "conf/tracking/", "conf/sweep/"))]
