"""What identifies a sweep and a trial from one start to the next."""

import dataclasses

import pytest

from pipeline.config.keys import short_names
from pipeline.config.overrides import checked_config
from pipeline.sweep.command import label, sources_and_defaults, sweep_name, trial_name

DEFAULT = checked_config([])


def test_sweep_name_is_experiment_and_hash_of_overrides() -> None:
    name = sweep_name(DEFAULT, ["seed=0,1", "model.depth=2,3"])
    assert name.startswith("segmentation-") and len(name) == len("segmentation-") + 8
    assert name == sweep_name(DEFAULT, ["model.depth=2,3", "seed=0,1"])
    assert name != sweep_name(DEFAULT, ["model.depth=2,3", "seed=0,1,2"])


@pytest.mark.parametrize(
    "more",
    ["tracking.uri=http://there", "tracking=server", "sweep.max_failures=3", "sweep.retry_failed=true",
     "hydra.sweeper.n_trials=5", "hydra/launcher=joblib"],
)  # fmt: skip
def test_overrides_that_change_no_trial_keep_the_sweep_name(more: str) -> None:
    assert sweep_name(DEFAULT, ["seed=0,1", more]) == sweep_name(DEFAULT, ["seed=0,1"])


def test_a_search_has_another_name_but_the_same_trials() -> None:
    assert sweep_name(DEFAULT, ["seed=0,1", "sweep=optuna"]) != sweep_name(DEFAULT, ["seed=0,1"])
    assert trial_name(["seed=1", "sweep=optuna", "sweep.name=a", "tracking.uri=x"]) == trial_name(["seed=1"])


def test_a_configured_sweep_name_wins() -> None:
    config = dataclasses.replace(DEFAULT, sweep=dataclasses.replace(DEFAULT.sweep, name="mine"))
    assert sweep_name(config, ["seed=0,1"]) == "mine"


def test_trial_name_is_its_overrides_in_any_order() -> None:
    assert trial_name(["seed=1", "epochs=2"]) == trial_name(["epochs=2", "seed=1"]) == "epochs=2 seed=1"
    assert trial_name(["epochs=3", "seed=1"]) != trial_name(["epochs=2", "seed=1"])
    assert trial_name([]) == "defaults"


def test_long_trial_names_fit_into_a_tag_and_stay_distinct() -> None:
    long = [f"dataset.classes=[{','.join(f'class{number}' for number in range(1000))}]"]
    assert len(trial_name([*long, "seed=1"])) < 5000
    assert trial_name([*long, "seed=1"]) != trial_name([*long, "seed=2"])


def test_parameter_names_are_as_short_as_possible() -> None:
    assert short_names(["model.depth", "seed", "+model.width"]) == {
        "model.depth": "depth", "seed": "seed", "+model.width": "width",
    }  # fmt: skip
    assert short_names(["model.name", "loss.name"]) == {"model.name": "model.name", "loss.name": "loss.name"}


def test_labels_have_short_values_without_quotes() -> None:
    values = {"optimizer.learning_rate": "0.08698710713937728", "model.norm": "'batch'", "seed": "2"}
    assert label(values) == "learning_rate=0.08699 norm=batch seed=2"
    assert label({}) == ""


def test_sources_and_defaults_leave_out_tracking_and_sweeps() -> None:
    found = sources_and_defaults()
    assert {"model/unet.py", "conf/config.yaml", "conf/model/unet.yaml"} <= found.keys()
    assert not [name for name in found if name.startswith(("tracking/", "sweep/", "conf/tracking/", "conf/sweep/"))]
