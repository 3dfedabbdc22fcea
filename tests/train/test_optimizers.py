"""Optimizers on a real network: what they change and what not, and the learning rate of every step."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.schema import ModelConfig, OptimizerConfig, ScheduleConfig
from pipeline.model.unet import build_unet
from pipeline.train.optimizers import WarmupSchedule, build_optimizer, weight_of_first_update

RATE = 0.1
CONSTANT = WarmupSchedule(ScheduleConfig("constant"), RATE, steps=10, steps_per_epoch=5)


# ---- schedules


def schedule(name: str, warmup: float = 0.0, power: float | None = None, steps: int = 100) -> WarmupSchedule:
    return WarmupSchedule(ScheduleConfig(name, warmup, power), 0.2, steps, steps_per_epoch=10)


@pytest.mark.parametrize(
    ("made", "values"),
    [
        (schedule("constant"), {0: 0.2, 50: 0.2, 99: 0.2, 100: 0.2}),
        (schedule("cosine"), {0: 0.2, 25: 0.1 * (1 + math.sqrt(0.5)), 50: 0.1, 75: 0.1 * (1 - math.sqrt(0.5)), 100: 0}),
        (schedule("poly", power=0.9), {0: 0.2, 50: 0.2 * 0.5**0.9, 90: 0.2 * 0.1**0.9, 100: 0}),
        (schedule("poly", power=2.0), {0: 0.2, 50: 0.05, 100: 0}),
        # Two epochs of warm-up are 20 steps; the fall takes the other 80.
        (schedule("constant", 2), {0: 0.01, 9: 0.1, 19: 0.2, 20: 0.2, 99: 0.2}),
        (schedule("cosine", 2), {0: 0.01, 9: 0.1, 19: 0.2, 20: 0.2, 60: 0.1, 100: 0}),
        (schedule("poly", 2, 0.9), {0: 0.01, 19: 0.2, 20: 0.2, 60: 0.2 * 0.5**0.9, 100: 0}),
        (schedule("cosine", 0.5), {0: 0.04, 4: 0.2, 5: 0.2, 100: 0}),
        (schedule("cosine", steps=1), {0: 0.2}),
    ],
)
def test_learning_rate_by_the_formula(made: WarmupSchedule, values: dict[int, float]) -> None:
    for step, expected in values.items():
        found = made(tf.constant(step, tf.int64))
        assert found.dtype == tf.float32 and found.shape == ()
        assert float(found) == pytest.approx(expected, abs=1e-7), step
        assert float(tf.function(made)(tf.constant(step))) == pytest.approx(expected, abs=1e-7)


def test_a_compiled_function_follows_a_schedule_that_becomes_another() -> None:
    made, other = schedule("constant"), schedule("cosine", 2, steps=300)
    compiled = tf.function(lambda step: made(step))
    assert float(compiled(tf.constant(70))) == float(np.float32(0.2))
    made.become(other)
    for step in (0, 70, 299, 300):
        assert float(compiled(tf.constant(step))) == float(other(step)) == float(made(step))
    assert compiled.experimental_get_tracing_count() == 1


def test_batches_of_one_update_have_its_learning_rate() -> None:
    config = ScheduleConfig("cosine", warmup_epochs=1.5)
    updates, batches = WarmupSchedule(config, RATE, 8, 2), WarmupSchedule(config, RATE, 24, 6, accumulate=3)
    for batch in range(24):
        assert float(batches(batch)) == float(updates(batch // 3))


@given(
    st.sampled_from(["constant", "cosine", "poly"]), st.floats(0, 5), st.integers(1, 20), st.integers(6, 30), st.data()
)
def test_learning_rate_rises_once_and_never_again(
    name: str, warmup: float, per_epoch: int, epochs: int, data: st.DataObject
) -> None:
    """And no step has a learning rate of 0."""
    steps = epochs * per_epoch
    config = ScheduleConfig(name, warmup, 0.9 if name == "poly" else None)
    made = WarmupSchedule(config, RATE, steps, per_epoch)
    step = data.draw(st.integers(0, steps - 2) if steps > 1 else st.just(0))
    one, other = float(made(step)), float(made(step + 1))
    assert 0 < one <= RATE * (1 + 1e-6)
    warmup_updates = round(warmup * per_epoch)
    if step + 1 < warmup_updates:
        assert other > one
    elif step >= warmup_updates:
        assert other <= one


# ---- optimizers


def network(norm: str = "batch") -> keras.Model:
    model = build_unet(ModelConfig("unet", 1, 2, norm, 0.0, "bilinear"), 2, seed=0)
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:  # biases begin at 0, where decay would not show
        if variable.name != "kernel":
            variable.assign(rng.uniform(0.5, 1, variable.shape))
    return model


def applied(
    config: OptimizerConfig, size: float, steps: int = 1
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Trained variables before and after some steps with the same gradient everywhere."""
    model = network()
    optimizer = build_optimizer(config, CONSTANT)
    variables = model.trainable_variables
    before = {variable.path: variable.numpy() for variable in variables}
    for _ in range(steps):
        optimizer.apply([tf.fill(variable.shape, size) for variable in variables], variables)
    return before, {variable.path: variable.numpy() for variable in variables}


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_every_optimizer_moves_every_weight_downhill(name: str) -> None:
    before, after = applied(OptimizerConfig(name, RATE), size=0.5)
    assert build_optimizer(OptimizerConfig(name, RATE), CONSTANT).name == name
    step = RATE * (0.5 if name == "sgd" else 1.0)  # Adam's first step is as long as the learning rate
    for path, values in before.items():
        np.testing.assert_allclose(after[path], values - step, atol=1e-5)


@pytest.mark.parametrize(("name", "decay"), [("adam", 0.0), ("adamw", 0.1)])
def test_adam_is_that_of_its_paper(name: str, decay: float) -> None:
    """Kingma and Ba 2015, section 2, in its more efficient order; the decay as in Loshchilov and Hutter 2019."""
    rng = np.random.default_rng(0)
    gradients = rng.normal(size=(30, 5))
    weight = rng.normal(size=5)
    variable = keras.Variable(weight.astype(np.float32))
    optimizer = build_optimizer(OptimizerConfig(name, RATE, weight_decay=decay or None), CONSTANT)
    first, second = np.zeros(5), np.zeros(5)
    for step, gradient in enumerate(gradients, start=1):
        optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        rate = RATE * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        weight = weight * (1 - RATE * decay) - rate * first / (np.sqrt(second) + 1e-7)
    np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-4, atol=1e-5)


def test_each_step_has_the_learning_rate_of_the_schedule() -> None:
    made = WarmupSchedule(ScheduleConfig("cosine", 1.0), RATE, steps=10, steps_per_epoch=5)
    variable = keras.Variable(0.0)
    optimizer = build_optimizer(OptimizerConfig("sgd", RATE), made)
    for step in range(10):
        before = float(variable.value)
        optimizer.apply([tf.constant(1.0)], [variable])
        assert before - float(variable.value) == pytest.approx(float(made(step)), abs=1e-6)


def test_momentum_is_nesterov_momentum() -> None:
    """Sutskever et al. 2013: v = m v - r g; w += m v - r g."""
    _, after = applied(OptimizerConfig("sgd", RATE, momentum=0.9), 1.0, steps=2)
    before, _ = applied(OptimizerConfig("sgd", RATE), 1.0)
    velocity, moved = 0.0, 0.0
    for _ in range(2):
        velocity = 0.9 * velocity - RATE
        moved += 0.9 * velocity - RATE
    for path, values in before.items():
        np.testing.assert_allclose(after[path], values + moved, atol=1e-5)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_an_encoder_can_learn_more_slowly(name: str) -> None:
    before, after = applied(OptimizerConfig(name, RATE, encoder_rate=0.25), size=0.5)
    step = RATE * (0.5 if name == "sgd" else 1.0)
    shares = {path: 0.25 if path.startswith("encoder_") else 1.0 for path in before}
    assert set(shares.values()) == {0.25, 1.0}
    for path, values in before.items():
        np.testing.assert_allclose(after[path], values - step * shares[path], atol=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_decay_shrinks_kernels_and_nothing_else(name: str, norm: str) -> None:
    """With a gradient of 0, only decoupled decay is left: w (1 - rate x decay) (Loshchilov and Hutter 2019)."""
    model = network(norm)
    optimizer = build_optimizer(OptimizerConfig(name, RATE, weight_decay=0.5), CONSTANT)
    before = [variable.numpy() for variable in model.trainable_variables]
    optimizer.apply([tf.zeros(variable.shape) for variable in model.trainable_variables], model.trainable_variables)
    decayed, kept = set(), set()
    for values, variable in zip(before, model.trainable_variables, strict=True):
        factor = 1 - RATE * 0.5 if variable.name == "kernel" else 1
        (decayed if variable.name == "kernel" else kept).add(variable.name)
        np.testing.assert_allclose(variable, values * factor, rtol=1e-6)
    assert decayed == {"kernel"} and kept == ({"bias"} if norm == "none" else {"bias", "gamma", "beta"})


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("decay", [None, 0.0])
def test_without_decay_nothing_shrinks(name: str, decay: float | None) -> None:
    before, after = applied(OptimizerConfig(name, RATE, weight_decay=decay), size=0.0)
    for path, values in before.items():
        np.testing.assert_array_equal(after[path], values)


def test_gradients_are_clipped_by_their_global_norm() -> None:
    before, after = applied(OptimizerConfig("sgd", RATE, clip_norm=0.5), size=3.0)
    moved = np.concatenate([(before[path] - after[path]).ravel() for path in before]) / RATE
    assert np.linalg.norm(moved) == pytest.approx(0.5, rel=1e-3)
    np.testing.assert_allclose(moved, moved[0], rtol=1e-3)  # the direction is kept
    count = sum(values.size for values in before.values())
    small = 0.1 / math.sqrt(count)
    before, after = applied(OptimizerConfig("sgd", RATE, clip_norm=0.5), size=small)
    for path, values in before.items():
        np.testing.assert_allclose(values - after[path], RATE * small, rtol=1e-2)


def test_moving_average_of_the_weights() -> None:
    """It begins at the weights after the first step and follows every later one; the weights are unaffected."""
    model = network()
    optimizer = build_optimizer(OptimizerConfig("sgd", RATE, ema=0.8), CONSTANT)
    variables, expected = model.trainable_variables, []
    for step in range(3):
        optimizer.apply([tf.ones(variable.shape) for variable in variables], variables)
        now = [variable.numpy() for variable in variables]
        expected = now if step == 0 else [0.8 * mean + 0.2 * w for mean, w in zip(expected, now, strict=True)]
    for mean, average in zip(expected, optimizer._model_variables_moving_average, strict=True):
        np.testing.assert_allclose(average, mean, rtol=1e-5, atol=1e-6)
    _, without = applied(OptimizerConfig("sgd", RATE), 1.0, steps=3)
    for variable in variables:
        np.testing.assert_array_equal(variable, without[variable.path])
    assert not build_optimizer(OptimizerConfig("sgd", RATE), CONSTANT).use_ema


@pytest.mark.parametrize(
    ("ema", "accumulate", "steps", "weight"),
    [(0.8, 1, 3, 0.64), (0.8, 2, 6, 0.64), (0.8, 2, 7, 0.64), (0.8, 1, 1, 0.0), (0.8, 4, 3, 0.0), (None, 1, 3, 0.0)],
)
def test_weight_of_the_first_update_in_the_average(ema: float, accumulate: int, steps: int, weight: float) -> None:
    """With one update it is all there is, and is what is trained."""
    config = OptimizerConfig("sgd", RATE, ema=ema, accumulate=accumulate)
    assert weight_of_first_update(config, steps) == pytest.approx(weight)


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_accumulated_gradients_give_the_updates_of_their_mean(name: str) -> None:
    """Two of four updates, of three gradients each: the same weights and averages, decay, clipping and rates."""
    rng = np.random.default_rng(0)
    rate = ScheduleConfig("cosine", warmup_epochs=0.5)
    options = {"weight_decay": 0.1, "clip_norm": 1.0, "encoder_rate": 0.5, "ema": 0.8}
    options |= {"momentum": 0.9} if name == "sgd" else {}
    found: dict[int, list[np.ndarray]] = {1: [], 3: []}
    gradients = [[rng.normal(size=v.shape).astype(np.float32) for v in network().trainable_variables] for _ in range(6)]
    for accumulate in found:
        model = network()
        config = OptimizerConfig(name, RATE, accumulate=accumulate, **options)  # type: ignore[arg-type]
        made = WarmupSchedule(rate, RATE, 4 * accumulate, 4 * accumulate, accumulate)
        optimizer, variables = build_optimizer(config, made), model.trainable_variables
        for start in range(0, 6, 3):
            group = gradients[start : start + 3]
            for each in [[np.mean(parts, axis=0) for parts in zip(*group, strict=True)]] if accumulate == 1 else group:
                before = [variable.numpy() for variable in variables]
                optimizer.apply([tf.constant(one) for one in each], variables)
            assert any((one != variable.numpy()).any() for one, variable in zip(before, variables, strict=True))
        averages = [average.numpy() for average in optimizer._model_variables_moving_average]
        found[accumulate] = [*(variable.numpy() for variable in variables), *averages]
    for one, three in zip(found[1], found[3], strict=True):
        np.testing.assert_allclose(three, one, atol=1e-5)


def test_between_updates_the_weights_do_not_change() -> None:
    before, after = applied(OptimizerConfig("adam", RATE, accumulate=3), 0.5, steps=2)
    for path, values in before.items():
        np.testing.assert_array_equal(after[path], values)


def test_an_optimizer_can_be_described() -> None:
    """Keras calls `get_config` when it prints or logs an optimizer."""
    described = build_optimizer(OptimizerConfig("adamw", RATE, weight_decay=0.1), schedule("cosine")).get_config()
    assert described["weight_decay"] == 0.1
