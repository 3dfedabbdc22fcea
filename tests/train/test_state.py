"""The state of one network restored into another: the next steps give the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from pipeline.config.schema import ModelConfig, OptimizerConfig, ScheduleConfig
from pipeline.model.unet import build_unet
from pipeline.model.weights import Arrays, named_weights, weights_sha256
from pipeline.runtime.errors import UserError
from pipeline.train.checkpoint import read_checkpoint
from pipeline.train.checkpoint_writer import CheckpointWriter
from pipeline.train.optimizers import WarmupSchedule, averaged_weights, build_optimizer
from pipeline.train.state import restore, restore_running, training_arrays

STEPS = 6
OPTIMIZERS = {
    "adam, ema, clipped": OptimizerConfig("adam", 0.01, ema=0.9, clip_norm=1.0),
    "adamw, decay": OptimizerConfig("adamw", 0.01, weight_decay=0.1),
    "sgd, momentum, ema": OptimizerConfig("sgd", 0.01, momentum=0.9, weight_decay=0.001, ema=0.5),
    "sgd, plain": OptimizerConfig("sgd", 0.01),
}


@pytest.fixture(autouse=True)
def policy() -> Any:
    """After each test, whatever precision it trained in, float32 again."""
    yield
    keras.config.set_dtype_policy("float32")


def network(width: int = 2, norm: bool = True) -> Any:
    """A convolution, BatchNormalization and dropout: all kinds of state of a U-Net, in as few layers as possible."""
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(width, 3, padding="same", kernel_initializer=keras.initializers.HeNormal(1), name="conv")(
        image
    )
    if norm:
        x = keras.layers.BatchNormalization(name="norm")(x)
    x = keras.layers.Dropout(0.5, seed=2, name="dropout")(x)
    return keras.Model(image, keras.layers.Conv2D(2, 1, dtype="float32", name="logits")(x))


def compiled(optimizer: OptimizerConfig = OPTIMIZERS["adam, ema, clipped"], model: Any = None) -> Any:
    """A compiled network with its optimizer built."""
    model = model or network()
    schedule = WarmupSchedule(ScheduleConfig("cosine", warmup_epochs=0.5), optimizer.learning_rate, STEPS, STEPS)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    # Eagerly: compiling a step takes ten times as long as running all of these.
    model.compile(optimizer=build_optimizer(optimizer, schedule), loss=loss, run_eagerly=True)
    model.optimizer.build(model.trainable_variables)
    return model


def batch(step: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(step)
    return rng.integers(0, 256, (2, 8, 8, 3), np.uint8), rng.integers(0, 2, (2, 8, 8), np.uint8)


def train(model: Any, steps: range) -> list[float]:
    """Train on these batches, within one epoch; returns the mean loss so far after each."""
    return [float(model.train_on_batch(*batch(step))) for step in steps]


def bits(model: Any) -> dict[str, str]:
    """The hash of each file of the model's state."""
    return {name: weights_sha256(arrays) for name, arrays in training_arrays(model).items()}


def test_before_the_first_update_the_average_is_the_weights() -> None:
    """With `accumulate` the first update may come after an epoch's end; Keras's averages are zeros until then."""
    model = compiled(OptimizerConfig("adam", 0.01, ema=0.9, accumulate=3))
    before = named_weights(model)
    train(model, range(2))
    with averaged_weights(model):
        for name, values in named_weights(model).items():
            if name in ("conv/kernel", "logits/kernel"):
                np.testing.assert_array_equal(values, before[name])
    train(model, range(2, 3))
    updated = named_weights(model)["conv/kernel"]
    assert (updated != before["conv/kernel"]).any()
    with averaged_weights(model):  # an average begins at the weights after the first update
        np.testing.assert_array_equal(named_weights(model)["conv/kernel"], updated)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("optimizer", [OPTIMIZERS["adam, ema, clipped"]], ids=["adam"])
def test_the_next_steps_are_equal_in_every_precision(precision: str, optimizer: OptimizerConfig) -> None:
    keras.config.set_dtype_policy(precision)
    assert_continues(lambda: compiled(optimizer))


@pytest.mark.parametrize("optimizer", list(OPTIMIZERS.values())[1:], ids=list(OPTIMIZERS)[1:])
def test_the_next_steps_are_equal_with_every_optimizer(optimizer: OptimizerConfig) -> None:
    assert_continues(lambda: compiled(optimizer))


def assert_continues(build: Callable[[], Any]) -> None:
    """Train, save, train further; restore into a new network, train that further: nothing differs."""
    whole = build()
    train(whole, range(3))
    taken = {
        name: {key: array.copy() for key, array in arrays.items()} for name, arrays in training_arrays(whole).items()
    }
    at_stop = bits(whole)
    losses = train(whole, range(3, STEPS))
    assert {name: weights_sha256(arrays) for name, arrays in taken.items()} == at_stop  # a copy, not a view
    resumed = build()
    restore(resumed, taken, "here")
    assert bits(resumed) == at_stop
    assert train(resumed, range(3, STEPS)) == losses
    assert bits(resumed) == bits(whole) != at_stop


def test_every_variable_of_a_unet_is_saved_once() -> None:
    """Of the network, its optimizer and its metrics. Two with the same name would overwrite each other."""
    model = compiled(model=build_unet(ModelConfig("unet", 1, 2, "batch", 0.5, "bilinear"), 2, seed=0))
    train(model, range(1))
    files = training_arrays(model)
    assert len(files["weights.npz"]) == len(model.weights)
    assert len(files["optimizer.npz"]) == len(model.optimizer.variables)
    generators = [layer.seed_generator for layer in model.layers if hasattr(layer, "seed_generator")]
    metrics = [variable for metric in model.metrics for variable in metric.variables]
    assert len(generators) == 2 and len(files["running.npz"]) == len(generators) + len(metrics) >= 4
    known = {id(variable) for variable in [*model.variables, *model.optimizer.variables, *model.metrics_variables]}
    assert len(known) == sum(map(len, files.values()))


@pytest.mark.parametrize("left_out", ["weights.npz", "optimizer.npz", "running.npz"])
def test_without_one_of_the_files_the_next_steps_differ(left_out: str) -> None:
    """Negative control: each of them matters."""
    whole = compiled()
    train(whole, range(3))
    taken = training_arrays(whole)
    train(whole, range(3, STEPS))
    resumed = compiled()
    restore(resumed, {**taken, left_out: training_arrays(resumed)[left_out]}, "here")
    train(resumed, range(3, STEPS))
    assert bits(resumed) != bits(whole)


def test_the_sums_of_the_metrics_are_restored_after_a_reset() -> None:
    """Keras's `fit`, which also trains the rest of an interrupted epoch, resets them when it begins."""
    whole = compiled()
    train(whole, range(3))
    taken = training_arrays(whole)
    losses = train(whole, range(3, STEPS))
    resumed = compiled()
    restore(resumed, taken, "here")
    resumed.reset_metrics()
    assert bits(resumed)["running.npz"] != weights_sha256(taken["running.npz"])
    restore_running(resumed, taken["running.npz"], "here")
    assert train(resumed, range(3, STEPS)) == losses


def test_the_loss_scale_of_float16_and_its_counter_are_saved() -> None:
    keras.config.set_dtype_policy("mixed_float16")
    model = compiled()
    train(model, range(1))
    model.optimizer.dynamic_scale.assign(512.0)
    model.optimizer.step_counter.assign(1234)
    taken = training_arrays(model)
    resumed = compiled()
    restore(resumed, taken, "here")
    assert float(resumed.optimizer.dynamic_scale) == 512.0 and int(resumed.optimizer.step_counter) == 1234
    assert int(resumed.optimizer.inner_optimizer.iterations) == int(model.optimizer.inner_optimizer.iterations)
    averages = resumed.optimizer.inner_optimizer._model_variables_moving_average
    assert len(averages) == len(resumed.trainable_variables)
    for here, there in zip(averages, model.optimizer.inner_optimizer._model_variables_moving_average, strict=True):
        assert (here.numpy() == there.numpy()).all()


def test_a_checkpoint_on_the_disk_is_the_same_state(tmp_path: Path) -> None:
    model = compiled()
    train(model, range(2))
    state = {"step": 2, "epoch": 0, "steps_per_epoch": 3, "seconds": 1.0, "told_collapse": False, "best": None}
    writer = CheckpointWriter(tmp_path / "step", training_arrays(model))
    writer.commit(state)
    _, files = read_checkpoint(tmp_path / "step")
    resumed = compiled()
    restore(resumed, files, "here")
    assert bits(resumed) == bits(model)


def without(name: str, file: str) -> Callable[[dict[str, Arrays]], None]:
    def change(files: dict[str, Arrays]) -> None:
        del files[file][next(key for key in files[file] if name in key)]

    return change


@pytest.mark.parametrize(
    ("other", "fault"),
    [
        (lambda: compiled(model=network(width=3)), "here/weights.npz: weights 'conv/kernel' are float32 (3, 3, 3, 3)"),
        (lambda: compiled(model=network(norm=False)), "here/weights.npz: missing weights 'norm/moving_mean'"),
        (lambda: compiled(OPTIMIZERS["sgd, plain"]), "here/optimizer.npz: missing weights 'adam/"),
        (lambda: compiled(OptimizerConfig("adam", 0.01)), "here/optimizer.npz: missing weights 'adam/"),
    ],
    ids=["width", "norm", "optimizer", "no moving average"],
)  # fmt: skip
def test_the_state_of_another_network_or_optimizer_is_refused(other: Callable[[], Any], fault: str) -> None:
    model = compiled()
    files = training_arrays(other())
    with pytest.raises(UserError) as error:
        restore(model, files, "here")
    assert any(found.startswith(fault) for found in error.value.faults), error.value.faults


@pytest.mark.parametrize("name", ["dropout", "metrics/"])
def test_an_incomplete_running_state_is_refused(name: str) -> None:
    model = compiled()
    files = training_arrays(model)
    without(name, "running.npz")(files)
    with pytest.raises(UserError, match=r"here/running\.npz: missing weights"):
        restore_running(model, files["running.npz"], "here")
