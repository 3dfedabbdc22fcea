"""Varying parameters, headings and ranking of runs, means over seeds, CSV."""

import csv
import io
import math

import pytest

from pipeline.compare.runs import ComparedRun, parse_class_scores
from pipeline.compare.table import (
    best_of,
    csv_table,
    headings,
    mean_and_deviation,
    ranked,
    repeated,
    replicates,
    varying,
)
from pipeline.config.keys import short_names


def run(run_id: str = "r", val: float | None = None, test: float | None = None, **more: object) -> ComparedRun:
    params = {key.replace("__", "."): str(value) for key, value in more.pop("params", {}).items()}  # type: ignore[attr-defined]
    metrics = {"best/val_mean_iou": val, "test/mean_iou": test}
    metrics["test/boundary_iou"] = more.pop("boundary", None)  # type: ignore[assignment]
    found = {key: value for key, value in metrics.items() if value is not None}
    status = str(more.pop("status", "FINISHED"))
    return ComparedRun(run_id, f"run {run_id}", status, params, found, **more)  # type: ignore[arg-type]


def test_equal_and_ineffective_parameters_do_not_vary() -> None:
    shared = {"epochs": 8, "model.depth": 3}
    runs = [
        run(params={**shared, "seed": seed, "model.width": width, "tracking.run_name": name, "data_dir": name})
        for seed, width, name in ((0, 4, "a"), (1, 8, "b"))
    ]
    assert varying(runs) == ["model.width", "seed"]


def test_locations_vary_if_data_or_initial_weights_differ() -> None:
    """The same data may be anywhere. A trial that failed before it had data is ignored."""
    places = [{"dataset.root": root, "model.encoder_weights": weights} for root in "ab" for weights in ("c", "d")]
    same = [run(params=place, data="1", initial="2") for place in places]
    assert varying([*same, run(params=places[0])]) == []
    others = [run(params=place, data=place["dataset.root"], initial="2") for place in places]
    assert varying(others) == ["dataset.root"]
    mixed = [run(params=place, data="1", initial=None if index else "2") for index, place in enumerate(places)]
    assert varying(mixed) == ["model.encoder_weights"]
    assert replicates([run(params={"seed": 0}, data="1", initial="2"), run(params={"seed": 1}, data="1")], ["seed"])


def test_values_that_a_trial_never_resolved_do_not_vary() -> None:
    """A trial that failed before its run began has what was composed; values that were asked for distinguish it."""
    resolved = {"precision": "float32", "dataset.background": "None", "dataset.classes": "['a', 'b']", "model.depth": 3}
    composed = {"precision": "auto", "dataset.background": "auto", "dataset.classes": "[]", "model.depth": 30}
    finished, failed = run("a", params=resolved, data="1"), run("b", params=composed, status="FAILED")
    assert varying([finished, failed]) == ["model.depth"]
    assert varying([failed, failed]) == []
    other = run("c", params={**resolved, "precision": "mixed_bfloat16"}, data="1")
    assert varying([finished, failed, other]) == ["model.depth", "precision"]
    # A run that began has resolved values, whatever they are.
    assert varying([finished, run("d", params={**resolved, "dataset.classes": "[]"}, data="1")]) == ["dataset.classes"]


def test_varying_parameters_are_in_the_order_of_the_schema() -> None:
    runs = [run(params={"zzz": 1, "optimizer.learning_rate": 1, "model.depth": 2}), run(params={"model.depth": 3})]
    assert varying(runs) == ["model.depth", "optimizer.learning_rate", "zzz"]
    assert varying(runs[:1]) == []


def test_names_are_short_where_they_are_unambiguous() -> None:
    assert short_names(["model.name", "optimizer.name", "model.width"]) == {
        "model.name": "model.name", "optimizer.name": "optimizer.name", "model.width": "width",
    }  # fmt: skip


def test_headings_distinguish_runs() -> None:
    runs = [run("aaaaaaaa", params={"model.width": 4}), run("bbbbbbbb", params={"model.width": 4}), run("c")]
    assert headings(runs, ["model.width"]) == ["width 4 (aaaaaa)", "width 4 (bbbbbb)", "width -"]
    assert headings(runs[2:], []) == ["run c"]
    long = run(params={f"key{number}": "x" * 100 for number in range(20)})
    assert len(headings([long], list(long.params))[0]) < 420 and "and 12 more" in headings([long], list(long.params))[0]


def test_finished_runs_are_ranked_first_by_validation() -> None:
    runs = [
        run("low", 0.2, test=0.9), run("high", 0.8, test=0.1), run("none"), run("pruned", 0.95, pruned=True),
        run("failed", 0.99, status="FAILED"), run("later", 0.5, started=2), run("sooner", 0.5, started=1),
        run("nan", math.nan),
    ]  # fmt: skip
    order = [found.run_id for found in ranked(runs)]
    assert order == ["high", "sooner", "later", "low", "nan", "none", "failed", "pruned"]
    assert best_of(runs).run_id == "high"  # type: ignore[union-attr]
    assert best_of(runs[2:5]) is None and best_of([]) is None


def test_an_unfinished_run_has_the_score_of_its_best_epoch() -> None:
    assert run(curves={"val/mean_iou": {1: 0.2, 2: 0.4, 3: math.nan, 4: 0.3}}).val == 0.4
    assert run().val is None
    assert run(val=1.7976931348623157e308).val is None  # infinity, as a database stores it


def test_means_and_deviations_replicates() -> None:
    runs = [
        run("a", 0.6, 0.5, params={"model.width": 8, "seed": 0}),
        run("b", 0.8, 0.6, params={"model.width": 8, "seed": 1}),
        run("c", 0.7, params={"model.width": 8, "seed": 2}),
        run("d", 0.9, 0.9, params={"model.width": 4, "seed": 0}),
        run("e", 0.1, 0.1, params={"model.width": 4, "seed": 1}, status="FAILED"),
    ]
    (group,) = replicates(runs, ["model.width", "seed"])
    assert (dict(group.params), group.run_ids) == ({"model.width": "8"}, ("b", "c", "a"))
    assert group.val == (pytest.approx(0.7), pytest.approx(0.1))  # deviations -0.1, 0.1, 0: sqrt(0.02 / 2)
    assert group.test == (pytest.approx(0.55), pytest.approx(math.sqrt(0.005)))
    twice = [run("x", 0.5, params={"seed": 0}), run("y", 0.5, params={"seed": 0})]
    assert replicates(twice, []) == []  # repeated runs have the same seed


def test_a_seed_that_was_run_twice_counts_once() -> None:
    """A rerun has the score of its original: counted twice, it would make the deviation too small."""
    runs = [
        run("a", 0.6, 0.5, params={"model.width": 8, "seed": 0}, started=1),
        run("b", 0.8, 0.6, params={"model.width": 8, "seed": 1}, started=2),
        run("rerun of b", 0.8, 0.6, params={"model.width": 8, "seed": 1}, started=4),
        run("rerun of a", 0.62, 0.52, params={"model.width": 8, "seed": 0}, started=3),
        run("failed", 0.9, params={"model.width": 8, "seed": 1}, started=5, status="FAILED"),
    ]
    (group,) = replicates(runs, ["model.width", "seed"])
    assert group.run_ids == ("rerun of b", "rerun of a")  # of each seed, the one that started last
    assert group.val == (pytest.approx(0.71), pytest.approx(0.18 / math.sqrt(2)))
    assert group.test == (pytest.approx(0.56), pytest.approx(0.08 / math.sqrt(2)))
    assert replicates([runs[0], runs[3]], ["model.width"]) == []
    folds = [
        run(f"{fold}{time}", 0.5, params={"seed": 0, "dataset.fold": fold}, started=time)
        for fold in (0, 1)
        for time in (1, 2)
    ]
    assert [group.run_ids for group in replicates(folds, ["dataset.fold"])] == [("02", "12")]


def test_folds_repeat_an_experiment_as_seeds_do() -> None:
    runs = [
        run(f"{width}{seed}{fold}", width / 100 + fold / 10, params={"model.width": width, "seed": seed, **in_fold})
        for width in (4, 8)
        for seed in (0, 1)
        for fold in (0, 1, 2)
        for in_fold in ({"dataset.fold": fold},)
    ]
    keys = varying(runs)
    assert keys == ["model.width", "dataset.fold", "seed"] and repeated(keys) == "seeds and folds"
    groups = replicates(runs, keys)
    assert [(dict(group.params), len(group.run_ids)) for group in groups] == [
        ({"model.width": "8"}, 6), ({"model.width": "4"}, 6),
    ]  # fmt: skip
    assert groups[0].val == (pytest.approx(0.18), pytest.approx(math.sqrt(0.04 / 5)))
    folds = [run for run in runs if run.params["seed"] == "0" and run.params["model.width"] == "4"]
    (group,) = replicates(folds, varying(folds))
    assert (repeated(varying(folds)), dict(group.params), len(group.run_ids)) == ("folds", {}, 3)


def test_one_value_has_no_deviation() -> None:
    assert mean_and_deviation([0.5, None]) is None
    assert mean_and_deviation([1.0, None, 2.0]) == (1.5, pytest.approx(math.sqrt(0.5)))


def test_csv_keeps_any_name_and_every_digit() -> None:
    odd = run("a", 1 / 3, params={"loss.name": 'x,"y"\nz'}, seconds=30.0, boundary=1 / 7)
    rows = list(csv.DictReader(io.StringIO(csv_table([odd, run("b", pruned=True)], ["loss.name"]))))
    assert float(rows[0]["best_val_mean_iou"]) == 1 / 3 and rows[0]["loss.name"] == 'x,"y"\nz'
    assert float(rows[0]["test_boundary_iou"]) == 1 / 7 and rows[0]["test_mean_dice"] == rows[1]["test_mean_dice"] == ""
    assert list(rows[0])[-2:] == ["test_frequency_weighted_iou", "test_pixel_accuracy"]  # the latest column comes last
    assert (rows[0]["minutes"], rows[0]["parameters"], rows[1]["minutes"], rows[1]["pruned"]) == ("0.5", "", "", "true")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("class,iou\na,0.5\nb,\nc,nan\nd,7\ne,x\n", {"IoU": {"a": 0.5, "b": None, "c": None, "d": None, "e": None}}),
        ("", {}),
        ("class,iou\n" + "x" * 200_000, {}),  # a field larger than a CSV reader takes
        ("other\n1\n", {}),
        ("iou\n1\n", {"IoU": {"None": 1}}),
        (
            "class,iou,accuracy,boundary_iou,recall\na,0.5,1,0.25\n",
            {"IoU": {"a": 0.5}, "recall": {"a": None}, "boundary IoU": {"a": 0.25}},
        ),
    ],
)
def test_scores_of_classes_are_numbers_between_0_and_1(text: str, found: dict[str, dict[str, float | None]]) -> None:
    assert parse_class_scores(text) == found
