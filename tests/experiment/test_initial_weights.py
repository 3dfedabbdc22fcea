"""The weights of a tracked run as the initial weights of another: which are used, and which are refused."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.experiment import initial_weights
from pipeline.experiment.initial_weights import requested_weights
from pipeline.model.build import build_network
from pipeline.model.weights import Arrays, named_weights, weights_sha256
from pipeline.runtime.errors import UserError

SMALL = ["model.depth=1", "model.width=2", "image_size=16", "precision=float32", "threads=2"]
OURS = checked_config([*SMALL, "dataset.classes=[a,b,c]", "init_from=abc"])
THEIRS = checked_config([*SMALL, "dataset.classes=[a,b]", "seed=5"])


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """A run that `init_from=abc` finds: its configuration, its weights and the hash that it recorded."""
    arrays = named_weights(build_network(THEIRS))
    np.savez(tmp_path / "weights.npz", **arrays)  # type: ignore[arg-type]
    run: dict[str, Any] = {"config": THEIRS, "arrays": arrays, "sha256": weights_sha256(arrays)}

    def opened(name: str, uri: str | None, key: str) -> SimpleNamespace:
        assert (name, key) == ("abc", "init_from")
        return SimpleNamespace(folder=TemporaryDirectory(), config=lambda: run["config"])

    monkeypatch.setattr(initial_weights, "open_run", opened)
    monkeypatch.setattr(initial_weights, "fetch_weights", lambda found: (tmp_path / "weights.npz", run["sha256"]))
    return run


def changed(**model: str) -> Config:
    return replace(OURS, model=replace(OURS.model, **model))  # type: ignore[arg-type]


def test_weights_other_than_the_recorded_ones_are_refused(stored: dict[str, Any]) -> None:
    found, stored["sha256"] = stored["sha256"], "f00"
    with pytest.raises(UserError, match=f"init_from=abc: weights_sha256 is {found}, but the run recorded f00"):
        requested_weights(OURS)


def test_a_rerun_with_other_classes_takes_all_but_the_logits_that_were_stored() -> None:
    theirs = named_weights(build_network(THEIRS))
    original: Any = SimpleNamespace(initial=theirs, config=replace(THEIRS, init_from="abc"), run_id="def")
    same = requested_weights(original.config, original)
    assert same is not None and same.arrays == theirs
    other = requested_weights(OURS, original)
    assert (
        other is not None and other.new_logits and "other classes, so the logits start from random" in str(other.note)
    )
    assert named_weights(build_network(OURS, other)).keys() == theirs.keys()


def test_with_other_classes_all_but_the_logits_are_used(stored: dict[str, Any]) -> None:
    start, scratch = requested_weights(OURS), named_weights(build_network(OURS))
    assert start is not None and start.new_logits and "other classes (a, b)" in str(start.note)
    made, theirs = named_weights(build_network(OURS, start)), stored["arrays"]
    logits = {name for name in made if name.startswith("logits")}
    assert logits and made.keys() == theirs.keys() == scratch.keys()
    for name, array in made.items():
        np.testing.assert_array_equal(array, (scratch if name in logits else theirs)[name])


def test_with_the_same_classes_all_weights_are_used(stored: dict[str, Any]) -> None:
    config = replace(OURS, dataset=THEIRS.dataset)
    start = requested_weights(config)
    assert start is not None and not start.new_logits and start.note is None
    assert weights_sha256(named_weights(build_network(config, start))) == stored["sha256"]


def test_interpolations_can_replace_each_other(stored: dict[str, Any]) -> None:
    """Interpolations do not have weights; a transposed convolution does."""
    assert requested_weights(changed(upsampling="nearest")) is not None
    with pytest.raises(UserError, match=r"model\.upsampling=transposed: .*=abc .*; model\.upsampling=bilinear exp"):
        requested_weights(changed(upsampling="transposed"))
    with pytest.raises(UserError, match=r"model\.norm=group: .*=abc .*; model\.norm=batch expected"):
        requested_weights(changed(norm="group"))


def test_a_rerun_uses_the_stored_weights_unless_asked_otherwise(stored: dict[str, Any]) -> None:
    weights: Arrays = {"first/kernel": np.zeros(3, np.float32)}
    original: Any = SimpleNamespace(run_id="def", config=replace(OURS, init_from="ghi"), initial=weights)
    start = requested_weights(original.config, original)
    assert start is not None and (start.source, start.arrays, start.new_logits) == ("rerun=def", weights, True)
    asked = requested_weights(OURS, original)
    assert asked is not None and asked.source == "init_from=abc"
    original.initial = None  # as in a run of an earlier version, which did not store them
    asked = requested_weights(OURS, original)
    assert asked is not None and asked.source == "init_from=abc"
