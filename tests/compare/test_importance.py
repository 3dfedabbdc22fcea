"""Importances of parameters, and the places of runs on parallel axes."""

import pytest

from pipeline.compare.importance import importances
from pipeline.compare.parallel_coordinates import parallel_axes
from pipeline.compare.runs import ComparedRun


def grid(score: str = "width", seeds: int = 2) -> list[ComparedRun]:
    """Runs over width, learning rate, optimizer and seed, whose score depends on one of them alone."""
    found = []
    for width in (4, 8, 16):
        for rate in ("1e-4", "1e-2"):
            for seed in range(seeds):
                params = {"model.width": str(width), "optimizer.learning_rate": rate, "seed": str(seed)}
                value = {"width": width / 20, "rate": float(rate) * 50, "none": 0.5}[score]
                found.append(ComparedRun(f"{len(found)}", "", "FINISHED", params, {"best/val_mean_iou": value}))
    return found


KEYS = ["model.width", "optimizer.learning_rate", "seed"]


@pytest.mark.parametrize(("score", "first"), [("width", "model.width"), ("rate", "optimizer.learning_rate")])
def test_the_only_parameter_with_an_effect_has_all_importance(score: str, first: str) -> None:
    found = importances(grid(score), KEYS)
    assert next(iter(found)) == first and found[first] > 0.9
    assert set(found) == set(KEYS) and sum(found.values()) == pytest.approx(1)
    assert found == importances(grid(score), KEYS)


def test_importances_of_texts_and_with_missing_values() -> None:
    runs = grid()
    for number, run in enumerate(runs):
        run.params["loss"] = f"kind {number % 2}"  # type: ignore[index]
    runs[0].params["only_here"] = "1"  # type: ignore[index]
    found = importances(runs, [*KEYS, "loss", "only_here"])
    assert "loss" in found and "only_here" not in found


def test_few_runs_or_equal_scores_have_no_importances() -> None:
    assert importances(grid()[:3], KEYS) == {}
    assert importances(grid("none"), KEYS) == {}
    assert importances(grid(), []) == {}
    unfinished = [ComparedRun(run.run_id, "", "FAILED", run.params, run.metrics) for run in grid()]
    assert importances(unfinished, KEYS) == {}


def test_numbers_are_placed_by_value_and_texts_evenly() -> None:
    runs = [
        ComparedRun(str(place), "", "FINISHED", {"a": a, "lr": lr, "kind": kind}, {"best/val_mean_iou": val})
        for place, (a, lr, kind, val) in enumerate(
            [("2", "0.001", "x", 0.5), ("3", "0.01", "y", 0.7), ("4", "0.1", "z", 0.6)]
        )
    ]
    a, lr, kind, score = parallel_axes(runs, ["a", "lr", "kind"])
    assert (a.name, list(a.heights)) == ("a", [0, 0.5, 1])
    assert lr.name == "lr (log)" and list(lr.heights) == pytest.approx([0, 0.5, 1])
    assert [text for _, text in lr.ticks] == ["0.001", "0.01", "0.1"]
    assert (list(kind.heights), list(kind.ticks)) == ([0, 0.5, 1], [(0, "x"), (0.5, "y"), (1, "z")])
    assert list(score.heights) == pytest.approx([0, 1, 0.5]) and score.ticks[-1] == (1, "0.700")


def test_labels_of_ticks_do_not_overlap() -> None:
    values = ["1", "1.01", "1.02", "1.5", "1.99", "2"]
    (axis,) = parallel_axes([ComparedRun("", "", "FINISHED", {"a": value}, {}) for value in values], ["a"])
    assert [text for _, text in axis.ticks] == ["1", "1.5", "2"]


def test_numbers_too_large_to_be_subtracted_are_texts() -> None:
    """A server may send any value, and JSON has no NaN."""
    runs = [ComparedRun("", "", "FINISHED", {"a": value}, {}) for value in ("1e308", "-1e308")]
    assert [axis.heights for axis in parallel_axes(runs, ["a"])] == [[1.0, 0.0]]


def test_a_run_without_a_score_has_no_height() -> None:
    runs = [ComparedRun("", "", "FAILED", {"a": "1"}, {}), ComparedRun("", "", "FINISHED", {"a": "2"}, {})]
    assert [axis.name for axis in parallel_axes(runs, ["a"])] == ["a"]
    scored = ComparedRun("", "", "FINISHED", {"a": "2"}, {"best/val_mean_iou": 0.5})
    assert list(parallel_axes([*runs, scored], ["a"])[-1].heights) == [None, None, 0.5]
