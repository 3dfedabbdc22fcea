"""The differences between a run and its rerun: settings, provenance, and the first value that differs."""

import contextlib
import dataclasses
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.experiment import rerun
from pipeline.experiment.rerun import History, Original, Verdict, changed_keys, compare
from pipeline.runtime.errors import UserError
from pipeline.tracking.provenance import Provenance, differences
from pipeline.tracking.sweep_runs import IS_SWEEP

ROWS = [["a", "p1", "m1"], ["b", "p2", "m2"], ["c", "p3", "m3"]]
PROVENANCE = Provenance(
    packages={"python": "3.11.7", "numpy": "2.4.0", "keras": "3.15.1"},
    git={"revision": "0123456789abcdef", "branch": "main", "dirty": False},
    hardware={"cpu": "fast", "gpus": "none"},
    sources={"train.py": "1", "model/unet.py": "2"},
    data={"train": ROWS, "val": [["d", "p4", "m4"]]},
)
HISTORY: History = {
    "train/loss": {1: 0.5, 2: 0.25},
    "val/loss": {1: 0.75, 2: 0.5},
    "best/epoch": {1: 2.0},
    "time/train_seconds": {1: 3.0, 2: 4.0},
    "system/cpu_utilization_percentage": {0: 50.0, 1: 60.0},
    "train/images_per_second": {1: 9.0, 2: 9.5},
}


# ---- settings


@pytest.fixture(scope="module")
def config() -> Config:
    return checked_config(["precision=float32", "threads=2"])


def test_every_key_that_affects_results_is_named(config: Config) -> None:
    changed = dataclasses.replace(
        config, epochs=20, long_side=None, model=dataclasses.replace(config.model, depth=3), precision="mixed_bfloat16"
    )
    assert changed_keys(config, changed) == [
        "model.depth: 4 -> 3", "long_side: 64 -> None", "epochs: 8 -> 20", "precision: float32 -> mixed_bfloat16",
    ]  # fmt: skip
    assert changed_keys(config, config) == []


def test_locations_and_checkpoints_affect_nothing(config: Config) -> None:
    moved = dataclasses.replace(
        config,
        data_dir="/elsewhere",
        dataset=dataclasses.replace(config.dataset, root="/there"),
        tracking=dataclasses.replace(config.tracking, uri="http://127.0.0.1", experiment="x", run_name="y"),
        checkpoint=dataclasses.replace(config.checkpoint, every_steps=3, keep=9, upload="epoch"),
    )
    assert changed_keys(config, moved) == []


def test_missing_determinism_is_named(config: Config) -> None:
    loose = dataclasses.replace(config, deterministic=False)
    assert changed_keys(config, loose) == ["deterministic: True -> False"]
    assert changed_keys(loose, config) == ["deterministic: False -> True"]
    assert changed_keys(loose, loose) == [
        "deterministic=false: two runs of the same command need not give the same bits"
    ]


# ---- provenance


def changed(**values: Any) -> Provenance:
    return dataclasses.replace(PROVENANCE, **values)


def with_train(*rows: list[str]) -> Provenance:
    return changed(data={**PROVENANCE.data, "train": list(rows)})


@pytest.mark.parametrize(
    ("now", "lines"),
    [
        (PROVENANCE, []),
        (with_train(["a", "p1", "m1"], ["b", "X", "m2"], ["c", "p3", "m3"]), ["data, train split: another image b"]),
        (with_train(["a", "p1", "m1"], ["b", "p2", "X"], ["c", "p3", "m3"]), ["data, train split: another mask b"]),
        (with_train(*ROWS[:2]), ["data, train split: removed c"]),
        (with_train(*ROWS, ["e", "p5", "m5"]), ["data, train split: new e"]),
        (with_train(*reversed(ROWS)), ["data, train split: another order"]),
        (
            with_train(["e", "p5", "m5"], ["b", "X", "Y"], ["a", "p1", "m1"]),
            ["data, train split: another image b; another mask b; removed c; new e"],
        ),
        (changed(data={**PROVENANCE.data, "test": ROWS[:1]}), ["data, test split: new a"]),
        (
            changed(packages={"python": "3.12.0", "numpy": "2.4.0", "mlflow": "3.17.2"}),
            ["packages: keras 3.15.1 -> absent, mlflow absent -> 3.17.2, python 3.11.7 -> 3.12.0"],
        ),
        (
            changed(sources={"train.py": "X", "epochs.py": "3"}),
            ["sources: epochs.py new, model/unet.py removed, train.py changed"],
        ),
        (changed(hardware={"cpu": "slow", "gpus": "none"}), ["hardware: cpu fast -> slow"]),
    ],
)
def test_what_differs_is_named(now: Provenance, lines: list[str]) -> None:
    assert differences(PROVENANCE, now) == lines


def test_the_revision_is_named_with_other_differences_only() -> None:
    """Most revisions change nothing that a run depends on; what does is in the sources."""
    later = {"revision": "fedcba9876543210", "branch": "x", "dirty": True}
    assert differences(PROVENANCE, changed(git=later)) == []
    lines = differences(PROVENANCE, changed(git=later, sources={**PROVENANCE.sources, "train.py": "X"}))
    assert lines == ["sources: train.py changed", "revision: 0123456789ab -> fedcba987654 with changes"]
    lines = differences(changed(git={}), changed(git=later, hardware={"cpu": "slow", "gpus": "none"}))
    assert lines[-1] == "revision: none -> fedcba987654 with changes"


def test_a_run_without_provenance_has_no_known_differences() -> None:
    """As one of an older version."""
    empty = Provenance(packages={}, git={}, hardware={}, sources={}, data={})
    assert differences(empty, PROVENANCE) == []


def test_a_long_list_is_cut_and_counted() -> None:
    rows = [[f"id{number}", "p", "m"] for number in range(9)]
    (line,) = differences(with_train(), with_train(*rows))
    assert line == "data, train split: new id0, id1, id2, id3, id4 and 4 more"
    (line,) = differences(changed(packages={"a" * 10**6: "1"}), changed(packages={"b": "1"}))
    assert len(line) < 1000


HOSTILE = "\x1b]0;title\x07\x9b2J\nbit-identical\u202e"


def test_control_characters_from_a_server_are_escaped() -> None:
    hostile = Provenance(
        packages={HOSTILE: HOSTILE},
        git={"revision": HOSTILE, "dirty": True},
        hardware={HOSTILE: HOSTILE},
        sources={HOSTILE: HOSTILE},
        data={"train": [[HOSTILE, "p", "m"]]},
    )
    lines = differences(hostile, PROVENANCE)
    lines += compare(original({HOSTILE: {1: 1.0}}), {}, "f00", lines).text.splitlines()
    assert any("\\x1b]0;title\\x07\\x9b2J\\nbit-identical\\u202e" in line for line in lines)
    assert all(line.isprintable() for line in lines)


def test_a_sweep_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own run is FINISHED and has the best score of its trials, but nothing was trained in it."""
    found = SimpleNamespace(tags={IS_SWEEP: "true"}, folder=contextlib.nullcontext())
    monkeypatch.setattr(rerun, "open_run", lambda *_: found)
    with pytest.raises(UserError, match=r"^rerun=abc: is a sweep; one of its trials, which .* lists, expected$"):
        rerun.find_original("abc", None)


# ---- results


def original(history: History) -> Original:
    return Original(
        run_id="abc",
        config=Config(),
        history=history,
        weights_sha256="f00",
        initial_sha256=None,
        initial=None,
        provenance=PROVENANCE,
    )


@pytest.mark.parametrize(("key", "last"), [("max_minutes", 3), ("early_stopping", 20), ("overfit", 20), (None, 3)])
def test_a_rerun_ends_where_time_ended_its_original(key: str | None, last: int) -> None:
    """Where something else did, that may end a rerun with another seed elsewhere; time never does."""
    timed = dataclasses.replace(Config(), epochs=20, max_minutes=60.0)
    found = dataclasses.replace(original({"val/mean_iou": {1: 0.1, 3: 0.3}}), config=timed, ended_by=key)
    assert found.last_epoch(dataclasses.replace(timed, seed=7)) == last
    assert found.last_epoch(dataclasses.replace(timed, max_minutes=61.0)) is None
    assert found.last_epoch(dataclasses.replace(timed, epochs=21)) is None


def verdict(now: dict[str, Any], weights: str = "f00", explanations: list[str] | None = None) -> Verdict:
    """The verdict on a rerun with the values of `HISTORY`, some of them changed; None removes one."""
    merged = {key: {**HISTORY.get(key, {}), **now.get(key, {})} for key in HISTORY.keys() | now.keys()}
    history = {
        key: {step: value for step, value in values.items() if value is not None} for key, values in merged.items()
    }
    return compare(original(HISTORY), history, weights, explanations or [])


def test_the_same_values_and_weights_are_bit_identical() -> None:
    """They are counted without metrics of the machine."""
    assert verdict({}) == Verdict(True, "bit-identical: 3 metrics x 2 steps, weights equal")


@pytest.mark.parametrize("key", ["time/train_seconds", "system/gpu_0", "train/images_per_second"])
def test_metrics_of_the_machine_are_not_compared(key: str) -> None:
    assert verdict({key: {1: 99.0, 7: 1.0}}).identical


@pytest.mark.parametrize(
    ("now", "first"),
    [
        ({"val/loss": {2: 0.625}}, "differs from step 2: val/loss was 0.5, is 0.625, by +0.125 (1 of 5 values differ)"),
        (
            {"val/loss": {1: 1.0, 2: 9.0}, "train/loss": {2: 9.0}, "best/epoch": {1: 1.0}},
            "differs from step 1: val/loss was 0.75, is 1.0, by +0.25 (4 of 5 values differ)",
        ),
        # The values at the end have the best epoch's step, but were logged last.
        (
            {"train/loss": {2: 0.0}, "best/epoch": {1: 1.0}},
            "differs from step 2: train/loss was 0.25, is 0.0, by -0.25 (2 of 5 values differ)",
        ),
        ({"best/epoch": {1: 1.0}}, "differs from step 1: best/epoch was 2.0, is 1.0, by -1 (1 of 5 values differ)"),
        ({"val/loss": {2: None}}, "differs from step 2: val/loss was 0.5, is missing (1 of 5 values differ)"),
        ({"val/loss": {3: 0.1}}, "differs from step 3: val/loss was missing, is 0.1 (1 of 6 values differ)"),
        ({"test/loss": {1: 0.1}}, "differs from step 1: test/loss was missing, is 0.1 (1 of 6 values differ)"),
        # The last bit of a number is a difference.
        (
            {"val/loss": {1: 0.7500000000000001}},
            "differs from step 1: val/loss was 0.75, is 0.7500000000000001, by +1.11e-16 (1 of 5 values differ)",
        ),
    ],
)
def test_the_first_difference_is_reported_with_its_size(now: dict[str, Any], first: str) -> None:
    found = verdict(now)
    assert not found.identical
    assert found.text.splitlines() == [first, "weights equal", "no reason is known"]


def test_other_weights_with_the_same_metrics_differ() -> None:
    found = verdict({}, weights="bad")
    assert not found.identical
    assert found.text.splitlines()[:2] == ["every metric is equal, but the weights are not", "weights differ"]


def test_other_differences_are_listed_as_possible_reasons() -> None:
    found = verdict({"val/loss": {2: 0.625}}, "bad", ["epochs: 2 -> 3", "packages: numpy 1 -> 2"])
    assert found.text.splitlines()[1:] == [
        "weights differ", "possible reasons:", "  epochs: 2 -> 3", "  packages: numpy 1 -> 2",
    ]  # fmt: skip
    assert verdict({}, explanations=["hardware: cpu a -> b"]).identical  # the same bits despite the difference


@pytest.mark.parametrize(
    ("then", "now", "same"),
    [
        (sys.float_info.max, float("inf"), True),  # as a database stores infinity
        (-sys.float_info.max, float("-inf"), True),
        (float("inf"), float("inf"), True),
        (sys.float_info.max, float("-inf"), False),
        (1.0, float("inf"), False),
        (sys.float_info.max, 1.0, False),
        (float("nan"), 1.0, False),
        (0.0, -0.0, True),
    ],
)
def test_infinity_equals_what_a_database_stores_of_it(then: float, now: float, same: bool) -> None:
    found = compare(original({"val/loss": {1: then}}), {"val/loss": {1: now}}, "f00", [])
    assert found.identical == same


def test_scores_that_the_original_does_not_have_yet_are_no_difference() -> None:
    """A run of an earlier version has no boundary IoU; where both have one, it counts."""

    def identical(then: History, now: History) -> bool:
        return compare(original(then), now, "f00", []).identical

    with_boundary = {**HISTORY, "test/boundary_iou": {2: 0.5}}
    assert identical(HISTORY, with_boundary) and identical(with_boundary, with_boundary)
    assert not identical(with_boundary, HISTORY)
    assert not identical(with_boundary, {**HISTORY, "test/boundary_iou": {2: 0.25}})
    assert not identical(HISTORY, {**HISTORY, "test/mean_iou": {2: 0.5}})
