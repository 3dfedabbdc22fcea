"""Runs that predict together: they agree in classes and pixels, and are scored as a split is."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import keras
import numpy as np
import pytest

from pipeline.config.overrides import checked_config
from pipeline.data.image_files import read_index_mask
from pipeline.data.palette import VOID
from pipeline.data.voc import Example
from pipeline.evaluate import ensemble
from pipeline.evaluate.ensemble import Ensemble, load_ensemble, score_ensemble
from pipeline.evaluate.metrics import image_confusion_matrix
from pipeline.evaluate.stored_network import StoredNetwork
from pipeline.runtime.errors import UserError
from pipeline.tracking.stored_run import StoredRun

CONFIG = checked_config(
    ["dataset=folder", "dataset.root=VOC", "dataset.classes=[ground,cat,dog]", "dataset.background=ground", "threads=3"]
)


def network(run_id: str, *images: str, **dataset: Any) -> StoredNetwork:
    config = dataclasses.replace(CONFIG, dataset=dataclasses.replace(CONFIG.dataset, **dataset))
    return StoredNetwork(run_id, config, keras.Model(), frozenset(images))


def runs(*run_ids: str) -> list[StoredRun]:
    return [create_autospec(StoredRun, instance=True, run_id=run_id) for run_id in run_ids]


@pytest.fixture
def stored(monkeypatch: pytest.MonkeyPatch) -> dict[str, StoredNetwork]:
    """Networks that can be loaded by their names."""
    known: dict[str, StoredNetwork] = {}

    def load(run: StoredRun, threads: int | None = None) -> StoredNetwork:
        assert threads == (None if run.run_id == next(iter(known)) else 3)  # all have those of the first
        return known[run.run_id]

    monkeypatch.setattr(ensemble, "load_stored_network", load)
    return known


def test_runs_that_agree_are_loaded_in_their_order(stored: dict[str, StoredNetwork]) -> None:
    stored |= {"a": network("a", "1"), "b": network("b", "2", root="elsewhere"), "c": network("c", "1", "3")}
    found = load_ensemble(runs("a", "b", "c"))
    assert [member.run_id for member in found.members] == ["a", "b", "c"] and found.config is stored["a"].config
    assert found.train_images == {"1", "2", "3"} and str(found) == "the mean of runs a, b and c"
    assert str(load_ensemble(runs("a"))) == "run a"


@pytest.mark.parametrize(
    ("differing", "fault"),
    [
        (
            {"classes": ["ground", "dog", "cat"]},
            r"dataset.classes is \[ground, dog, cat\], but \[ground, cat, dog\] in",
        ),
        ({"classes": ["ground", "cat"]}, r"dataset.classes is \[ground, cat\], but"),
        ({"background": None}, "dataset.background is null, but ground in run a; runs that agree in it expected"),
        ({"exif": "apply"}, "dataset.exif is apply, but refuse in run a"),
        ({"intensity": [0.0, 4095.0]}, r"dataset.intensity is \[0.0, 4095.0\], but null in run a"),
    ],
)
def test_runs_that_differ_are_refused(stored: dict[str, StoredNetwork], differing: dict[str, Any], fault: str) -> None:
    stored |= {"a": network("a"), "b": network("b", **differing)}
    with pytest.raises(UserError, match=f"run=b: {fault}"):
        load_ensemble(runs("a", "b"))


def test_a_split_is_scored_by_its_exact_counts(voc_folder: Callable[..., Path]) -> None:
    root = voc_folder(test=3, size=[(24, 32), (9, 7)])
    names = ["test_0", "test_1", "test_2"]
    examples = [
        Example(name, root / f"JPEGImages/{name}.jpg", root / f"SegmentationClass/{name}.png") for name in names
    ]
    seen: dict[str, np.ndarray] = {}

    def predict(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (image[..., 0] // 90).astype(np.uint8), np.zeros((*image.shape[:2], 3), np.float32)

    scores = score_ensemble(predict, examples, 3, lambda example, found: seen.update({example.id: found}))
    expected = sum(image_confusion_matrix(read_index_mask(example.mask), seen[example.id], 3) for example in examples)
    np.testing.assert_array_equal(scores.confusion_matrix, expected)
    assert list(seen) == list(scores.image_iou) == names and np.isnan(scores.loss)
    assert scores.confusion_matrix.sum() == sum((read_index_mask(one.mask) != VOID).sum() for one in examples)


def test_one_run_is_an_ensemble_of_one() -> None:
    alone = Ensemble((network("a", "1"),))
    assert alone.train_images == {"1"} and str(alone) == "run a"
