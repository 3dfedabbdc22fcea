"""The training loss against formulas in float64, and void pixels, which must not influence it."""

import json

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.schema import LossConfig
from pipeline.data.palette import VOID
from pipeline.model.losses import SegmentationLoss
from tests.end_to_end.commands import ROOT, python
from tests.model.loss_batches import (
    BOTH,
    CLASSES,
    DICE,
    FOCAL,
    PLAIN,
    WEIGHTS,
    batch,
    loss_config,
    uneven_batch,
)


def softmax(logits: np.ndarray) -> np.ndarray:
    power = np.exp(logits.astype(float) - logits.max(axis=-1, keepdims=True))
    return power / power.sum(axis=-1, keepdims=True)


def expected_cross_entropy(mask: np.ndarray, logits: np.ndarray, weights: np.ndarray, gamma: float) -> float:
    """Computed pixel by pixel."""
    probability, total, weight = softmax(logits), 0.0, 0.0
    for pixel in np.ndindex(mask.shape):
        if mask[pixel] != VOID:
            p, w = probability[pixel][mask[pixel]], float(weights[mask[pixel]])
            total += -w * (1 - p) ** gamma * np.log(p)
            weight += w
    return total / weight


def expected_dice(mask: np.ndarray, logits: np.ndarray) -> float:
    probability, losses = softmax(logits), []
    for label in range(CLASSES):
        if (mask == label).any():
            p, g = probability[mask != VOID][:, label], (mask[mask != VOID] == label).astype(float)
            losses.append(1 - 2 * (p * g).sum() / (p.sum() + g.sum()))
    return float(np.mean(losses))


def loss_of(mask: np.ndarray, logits: np.ndarray, config: LossConfig, weights: np.ndarray = WEIGHTS) -> float:
    return float(SegmentationLoss(config, weights)(tf.constant(mask), tf.constant(logits)))


def gradient_of(
    mask: np.ndarray, logits: np.ndarray, config: LossConfig, weights: np.ndarray = WEIGHTS
) -> tuple[float, np.ndarray]:
    variable = tf.Variable(logits)
    with tf.GradientTape() as tape:
        loss = SegmentationLoss(config, weights)(tf.constant(mask), variable)
    return float(loss), tape.gradient(loss, variable).numpy()


ALL = pytest.mark.parametrize("config", [PLAIN, FOCAL, DICE, BOTH], ids=["plain", "focal", "dice", "both"])


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
@pytest.mark.parametrize("weights", [np.ones(CLASSES, np.float32), WEIGHTS], ids=["plain", "weighted"])
@pytest.mark.parametrize("void", [0.0, 0.3, 0.9])
def test_cross_entropy_by_hand(gamma: float, weights: np.ndarray, void: float) -> None:
    mask, logits = batch(void=void)
    found = SegmentationLoss(loss_config(focal_gamma=gamma), weights)(mask, logits)
    assert found.dtype == tf.float32 and found.shape == ()
    assert float(found) == pytest.approx(expected_cross_entropy(mask, logits, weights, gamma), rel=1e-5)


@pytest.mark.parametrize("void", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("seed", range(4))
def test_dice_by_hand(void: float, seed: int) -> None:
    mask, logits = batch(seed, void)
    assert loss_of(mask, logits, DICE) == pytest.approx(expected_dice(mask, logits), rel=1e-5)


def test_dice_ignores_absent_classes() -> None:
    """Its probability does not count. Certain and right: 0; certain and wrong: 1."""
    mask = np.zeros((1, 2, 4), np.uint8)
    mask[0, 0], mask[0, 1, 0] = 2, VOID
    logits = np.zeros((1, 2, 4, CLASSES), np.float32)
    assert loss_of(mask, logits, DICE) == pytest.approx(expected_dice(mask, logits))
    right = 100 * np.eye(CLASSES, dtype=np.float32)[np.where(mask == VOID, 1, mask)]
    assert loss_of(mask, right, DICE) == pytest.approx(0, abs=1e-6)
    wrong = 100 * np.eye(CLASSES, dtype=np.float32)[np.where(mask == 2, 0, 2)]
    assert loss_of(mask, wrong, DICE) == pytest.approx(1, abs=1e-6)


def test_the_loss_is_the_weighted_sum_of_its_parts() -> None:
    mask, logits = batch()
    parts = 0.7 * expected_cross_entropy(mask, logits, WEIGHTS, 1.5) + 0.4 * expected_dice(mask, logits)
    assert loss_of(mask, logits, BOTH) == pytest.approx(parts, rel=1e-5)
    assert loss_of(mask, logits, PLAIN) == pytest.approx(expected_cross_entropy(mask, logits, WEIGHTS, 0), rel=1e-5)
    assert loss_of(mask, logits, DICE) == pytest.approx(expected_dice(mask, logits), rel=1e-5)


def test_pixels_are_averaged_over_the_batch_not_per_image() -> None:
    mask, logits = batch()
    mask[0, 1:] = VOID
    one, other = (expected_cross_entropy(mask[[i]], logits[[i]], WEIGHTS, 0) for i in (0, 1))
    found = loss_of(mask, logits, PLAIN)
    assert found == pytest.approx(expected_cross_entropy(mask, logits, WEIGHTS, 0), rel=1e-5)
    assert found != pytest.approx((one + other) / 2, rel=1e-3)


@ALL
@pytest.mark.parametrize("dtype", [tf.uint8, tf.int32, tf.int64])
def test_masks_of_any_integer_type(config: LossConfig, dtype: tf.DType) -> None:
    mask, logits = batch()
    loss = SegmentationLoss(config, WEIGHTS)
    assert float(loss(tf.constant(mask, dtype), tf.constant(logits))) == loss_of(mask, logits, config)


def test_focal_loss_with_gamma_near_0_is_the_cross_entropy() -> None:
    mask, logits = batch()
    gradients = [gradient_of(mask, logits, loss_config(focal_gamma=gamma)) for gamma in (0.0, 1e-6)]
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-4)
    np.testing.assert_allclose(gradients[0][1], gradients[1][1], atol=1e-5)


@ALL
def test_void_pixels_have_no_gradient_and_no_influence(config: LossConfig) -> None:
    """Exactly none, however wrong the logits of void pixels are."""
    mask, logits = batch()
    loss, gradient = gradient_of(mask, logits, config)
    assert (gradient[mask == VOID] == 0).all()
    assert (np.abs(gradient[mask != VOID]).max(axis=-1) > 0).all()
    other = logits.copy()
    other[mask == VOID] = [1e4, -1e4, 0, 7]
    changed, gradient_there = gradient_of(mask, other, config)
    assert changed == loss
    np.testing.assert_array_equal(gradient_there, gradient)


@ALL
def test_a_batch_of_void_pixels_has_loss_0(config: LossConfig) -> None:
    mask, logits = batch()
    loss, gradient = gradient_of(np.full_like(mask, VOID), logits, config)
    assert loss == 0 and (gradient == 0).all()


@ALL
@pytest.mark.parametrize("size", [1e4, -1e4, 88.0, 1e30])
def test_extreme_logits_give_finite_loss_and_gradient(config: LossConfig, size: float) -> None:
    mask, _ = batch()
    for offset in (0, 1):  # certain and right, certain and wrong, and with negative logits the other way round
        logits = (
            np.float32(size) * np.eye(CLASSES, dtype=np.float32)[(np.where(mask == VOID, 0, mask) + offset) % CLASSES]
        )
        loss, gradient = gradient_of(mask, logits, config)
        assert np.isfinite(loss) and np.isfinite(gradient).all()


@pytest.mark.parametrize("gamma", [0.3, 0.5, 1.0, 1.5, 2.0])
def test_focal_gradient_where_the_true_class_is_certain(gamma: float) -> None:
    """p is exactly 1 in float32, where the power of 1 - p has no finite gradient."""
    mask = np.array([[[1, 1]]], np.uint8)
    logits = np.array([[[[0, 200, 0, 0], [0, 2, 0, 0]]]], np.float32)
    loss, gradient = gradient_of(mask, logits, loss_config(focal_gamma=gamma))
    assert np.isfinite(loss) and np.isfinite(gradient).all()
    assert np.abs(gradient[0, 0, 0]).max() < 1e-6 < np.abs(gradient[0, 0, 1]).max()


@ALL
def test_the_gradient_equals_finite_differences(config: LossConfig) -> None:
    """Differences in float64 of the formulas above."""
    mask, logits = batch(1, scale=1.0)
    _, gradient = gradient_of(mask, logits, config)

    def value(at: np.ndarray) -> float:
        entropy = expected_cross_entropy(mask, at, WEIGHTS, config.focal_gamma)
        return config.cross_entropy * entropy + config.dice * expected_dice(mask, at)

    for place in [(0, 0, 0, 0), (0, 2, 3, 1), (1, 4, 5, 2), (1, 1, 1, 3), (0, 4, 2, 2)]:
        step = np.zeros(logits.shape)
        step[place] = 1e-5
        slope = (value(logits.astype(float) + step) - value(logits.astype(float) - step)) / 2e-5
        assert gradient[place] == pytest.approx(slope, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.floats(0, 1), st.sampled_from([0.0, 3.0, 1e3, 1e30]))
def test_never_negative_and_dice_at_most_one(seed: int, void: float, scale: float) -> None:
    mask, logits = batch(seed, void, scale)
    assert 0 <= loss_of(mask, logits, FOCAL) <= loss_of(mask, logits, PLAIN) * WEIGHTS.max() < np.inf
    assert 0 <= loss_of(mask, logits, DICE) <= 1
    assert 0 <= loss_of(mask, logits, BOTH) < np.inf


def test_half_precision_logits_are_cast_to_float32() -> None:
    mask, logits = batch()
    half = tf.cast(tf.constant(logits), tf.bfloat16)
    found = SegmentationLoss(PLAIN, WEIGHTS)(tf.constant(mask), half)
    assert found.dtype == tf.float32
    assert float(found) == loss_of(mask, tf.cast(half, tf.float32).numpy(), PLAIN)


def test_one_graph_serves_batches_of_any_size() -> None:
    loss = SegmentationLoss(BOTH, WEIGHTS)
    spec = [tf.TensorSpec((None, None, None), tf.uint8), tf.TensorSpec((None, None, None, CLASSES), tf.float32)]
    graph = tf.function(loss, input_signature=spec)
    mask, logits = batch()
    assert float(graph(mask, logits)) == pytest.approx(loss_of(mask, logits, BOTH), rel=1e-6)
    assert float(graph(mask[:1, :2], logits[:1, :2])) == pytest.approx(
        loss_of(mask[:1, :2], logits[:1, :2], BOTH), rel=1e-6
    )


ON_DEVICES = """
import json, sys
import numpy as np
from pipeline.runtime.hardware import import_tensorflow
tf = import_tensorflow()
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from pipeline.model.losses import SegmentationLoss
from tests.model.loss_batches import BOTH, DICE, FOCAL, PLAIN, WEIGHTS, uneven_batch
mask, logits = uneven_batch()

def share(values, device):
    return tf.constant(np.split(values, 2)[device.replica_id_in_sync_group])

found = []
devices = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
for config in (PLAIN, FOCAL, DICE, BOTH):
    with devices.scope():
        loss_of = SegmentationLoss(config, WEIGHTS)
    masks, shares = (
        devices.experimental_distribute_values_from_function(lambda device, values=values: share(values, device))
        for values in (mask, logits)
    )

    @tf.function
    def step(mask, logits):
        with tf.GradientTape() as tape:
            tape.watch(logits)
            loss = loss_of(mask, logits)
        return loss, tape.gradient(loss, logits)

    losses, gradients = (devices.experimental_local_results(each) for each in devices.run(step, (masks, shares)))
    found.append([float(sum(losses)), np.concatenate(gradients).tolist()])
print(json.dumps(found))
"""


def test_two_devices_give_the_loss_of_the_whole_batch() -> None:
    """And its gradient, however unevenly the valid pixels are distributed."""
    done = python("-c", ON_DEVICES, cwd=ROOT)
    assert done.status == 0, done.stderr
    mask, logits = uneven_batch()
    for (loss, gradient), config in zip(json.loads(done.stdout), (PLAIN, FOCAL, DICE, BOTH), strict=True):
        alone, slope = gradient_of(mask, logits, config)
        assert loss == pytest.approx(alone, rel=1e-6)
        np.testing.assert_allclose(gradient, slope, rtol=1e-5, atol=1e-7)
