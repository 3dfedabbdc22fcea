"""Networks that are compiled once for several runs: every run has the bits that it has alone."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.config.schema import (
    Config,
    LossConfig,
    ModelConfig,
    OptimizerConfig,
    ScheduleConfig,
)
from pipeline.data.prepare import Dataset
from pipeline.data.voc import Example
from pipeline.model.weights import weights_sha256
from pipeline.runtime.keras_settings import set_keras
from pipeline.train.compiled import MOST_NETWORKS, CompiledNetwork, NetworkCache
from pipeline.train.state import training_arrays

SIDE, BATCH = 16, 2


def configuration(**changes: Any) -> Config:
    config = Config(image_size=SIDE, batch_size=BATCH, epochs=3, seed=0, threads=2, precision="float32")
    config.dataset.classes = ["background", "cat", "dog"]
    config.model = ModelConfig("unet", 1, 2, "batch", 0.5, "bilinear", logits="finest")
    config.optimizer = OptimizerConfig("adamw", 0.01, weight_decay=0.1, ema=0.5)
    config.schedule = ScheduleConfig("cosine", warmup_epochs=1)
    config.loss = LossConfig(cross_entropy=1.0, dice=1.0)
    return replace(config, **changes)


@pytest.fixture
def dataset() -> Dataset:
    """Six training examples, of which only the number counts."""
    made: Any = object.__new__(Dataset)
    object.__setattr__(made, "splits", {"train": [Example(f"{n}", Path(), Path()) for n in range(6)]})
    object.__setattr__(made, "classes", ["background", "cat", "dog"])
    return made


def trained(network: CompiledNetwork, steps: int = 4) -> dict[str, str]:
    """Hashes of a network's whole state, and of how it scores an image, after some steps."""
    rng = np.random.default_rng(0)
    for _ in range(steps):
        images = rng.integers(0, 256, (BATCH, SIDE, SIDE, 3), np.uint8)
        network.model.train_on_batch(images, rng.integers(0, 3, (BATCH, SIDE, SIDE), np.uint8))
    size = np.array([[SIDE, SIDE]], np.int32)
    counts, losses, _ = network.scorer(images[:1], size, np.zeros((1, SIDE, SIDE), np.uint8), size)
    state = {name: weights_sha256(arrays) for name, arrays in training_arrays(network.model).items()}
    return {**state, "scores": weights_sha256({"counts": counts, "losses": losses})}


def between_runs(config: Config) -> None:
    """What may happen in a process between two runs; random numbers other than a run's own change nothing."""
    keras.utils.set_random_seed(config.seed + 100)
    set_keras(config.precision)


VARIATIONS = {
    "seed": {"seed": 1},
    "dropout": {"model": ModelConfig("unet", 1, 2, "batch", 0.2, "bilinear", logits="finest")},
    "optimizer": {"optimizer": OptimizerConfig("adamw", 0.003, weight_decay=0.3, ema=0.5)},
    "schedule": {"schedule": ScheduleConfig("poly", warmup_epochs=0, power=0.9), "epochs": 7},
}


def test_a_reused_network_trains_as_a_new_one_does(dataset: Dataset) -> None:
    cache = NetworkCache()
    first = configuration()
    between_runs(first)
    kept = cache.network(first, dataset)
    trained(kept)
    found = {}
    for name, changes in VARIATIONS.items():
        config = configuration(**changes)
        between_runs(config)
        assert cache.network(config, dataset).model is kept.model, name
        found[name] = trained(kept)
        assert found[name] == trained(NetworkCache().network(config, dataset)), name
    assert len({tuple(each.values()) for each in found.values()}) == len(VARIATIONS)  # each variation changes bits
    assert kept.scorer._score.experimental_get_tracing_count() == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 24},
        {"batch_size": 3},
        {"precision": "mixed_bfloat16"},
        {"loss": LossConfig(cross_entropy=1.0, dice=0.5)},
        {"optimizer": OptimizerConfig("adam", 0.01, ema=0.5)},
        {"optimizer": OptimizerConfig("adamw", 0.01, weight_decay=0.1, ema=0.6)},
        {"model": ModelConfig("unet", 1, 2, "batch", 0.0, "bilinear", logits="finest")},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_is_compiled_in_needs_another_network(dataset: Dataset, changes: dict[str, Any]) -> None:
    cache = NetworkCache()
    kept = cache.network(configuration(), dataset)
    assert cache.network(configuration(**changes), dataset).model is not kept.model
    assert cache.network(configuration(), dataset).model is kept.model


def test_the_network_used_longest_ago_is_forgotten(dataset: Dataset) -> None:
    cache = NetworkCache()

    def model(batch_size: int) -> Any:
        return cache.network(configuration(batch_size=batch_size), dataset).model

    first, second = model(1), model(2)
    for batch_size in range(3, MOST_NETWORKS + 1):
        model(batch_size)
    assert model(1) is first
    model(MOST_NETWORKS + 1)
    assert model(1) is first and model(2) is not second
