"""The U-Net over depth, width, normalisation and up-sampling: shapes, names, seeds, precision, gradients."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.config.schema import ModelConfig
from pipeline.model.unet import build_unet
from tests.model.networks import model_config

VARIANTS = [
    model_config(depth=1, width=1, norm="none", upsampling="nearest"),
    model_config(depth=1, width=8, dropout=0.1, upsampling="transposed"),
    model_config(depth=2, width=3, norm="group"),
    model_config(depth=3, width=4, upsampling="nearest"),
    model_config(depth=3, width=2, norm="none", dropout=0.2, upsampling="transposed"),
    model_config(depth=4, width=2, norm="group"),
    model_config(depth=4, width=1),
    model_config(depth=3, width=4, logits="every_level"),
]


@dataclass
class Variant:
    """A configuration and its network for three classes, shared by tests that do not change its weights."""

    config: ModelConfig
    model: keras.Model
    multiple: int


@pytest.fixture(
    scope="module",
    params=VARIANTS,
    ids=lambda config: f"depth{config.depth}-width{config.width}-{config.norm}-{config.upsampling}",
)
def variant(request: pytest.FixtureRequest) -> Variant:
    config: ModelConfig = request.param
    return Variant(config, build_unet(config, 3, seed=1), 2**config.depth)


@pytest.fixture
def precision() -> Iterator[None]:
    """Restores the dtype policy that a test changes."""
    before = keras.config.dtype_policy()
    yield
    keras.config.set_dtype_policy(before)


def images(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8))


def weights(model: keras.Model) -> dict[str, np.ndarray]:
    return {f"{layer.name}/{weight.name}": weight.numpy() for layer in model.layers for weight in layer.weights}


def test_logits_have_the_size_of_the_input(variant: Variant) -> None:
    """For every size that can be halved `depth` times, called directly and from one graph."""
    model, side = variant.model, variant.multiple
    assert model.input_shape == (None, None, None, 3) and model.output_shape == (None, None, None, 3)
    assert model.inputs[0].dtype == "uint8"
    spec = tf.TensorSpec((None, None, None, 3), tf.uint8)
    graph = tf.function(lambda x: model(x, training=False), input_signature=[spec])
    for batch, height, width in ((1, side, side), (2, 2 * side, 3 * side), (3, 3 * side, side)):
        image = images(batch, height, width)
        logits = model(image, training=False)
        assert logits.shape == (batch, height, width, 3) and logits.dtype == tf.float32
        assert np.isfinite(logits).all()
        assert np.ptp(logits) > 0 or variant.config.width == 1  # the only ReLU may be dead
        np.testing.assert_allclose(graph(image), logits, atol=1e-4)


@pytest.mark.parametrize("classes", [2, 7])
def test_one_logit_a_class(classes: int) -> None:
    assert build_unet(model_config(depth=1, width=1), classes, seed=0)(images(1, 4, 6)).shape == (1, 4, 6, classes)


def test_layers_have_the_same_unique_names_in_every_build(variant: Variant) -> None:
    one, other = variant.model, build_unet(variant.config, 3, seed=1)
    names = [layer.name for layer in one.layers]
    assert names == [layer.name for layer in other.layers] and len(set(names)) == len(names)
    for name in names:
        allowed = r"image|input_scaling|((encoder|decoder)_\d|bottom)_[a-z]+(_[01]|_conv)?|logits(_\d(_up|_sum)?)?"
        assert re.fullmatch(allowed, name), name
    assert len(weights(one)) == len(one.weights)
    assert [weight.path for weight in one.weights] == [weight.path for weight in other.weights]


@pytest.mark.parametrize("config", [VARIANTS[1], VARIANTS[2], VARIANTS[4]], ids=str)
def test_initial_weights_are_a_function_of_seed_and_layer(config: ModelConfig) -> None:
    first = weights(build_unet(config, 3, seed=1))
    keras.utils.set_random_seed(99)  # neither global state nor what was built before matters
    build_unet(model_config(depth=1, width=2), 2, seed=5)
    again, another = weights(build_unet(config, 3, seed=1)), weights(build_unet(config, 3, seed=2))
    kernels = [name for name in first if name.endswith("/kernel")]
    assert kernels
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
    for name in kernels:
        assert (first[name] != another[name]).all(), name
    same_shape: dict[tuple[int, ...], list[str]] = {}
    for name in kernels:
        same_shape.setdefault(first[name].shape, []).append(name)
    for alike in same_shape.values():
        assert len({first[name].tobytes() for name in alike}) == len(alike)


def test_a_layers_weights_do_not_depend_on_the_others() -> None:
    """A deeper network starts like a shallower one, and its blocks are the same with any up-sampling."""
    shallow, deep = (weights(build_unet(model_config(depth=depth), 3, 7)) for depth in (1, 3))
    np.testing.assert_array_equal(shallow["encoder_0_conv_1/kernel"], deep["encoder_0_conv_1/kernel"])
    other = weights(build_unet(model_config(depth=3, upsampling="transposed"), 3, 7))
    np.testing.assert_array_equal(other["decoder_0_conv_1/kernel"], deep["decoder_0_conv_1/kernel"])


def test_initial_kernels_have_the_variance_of_he() -> None:
    """Keeps the size of activations through ReLUs: variance 2 / (inputs of a unit) (He et al. 2015, equation 10)."""
    kernel = weights(build_unet(model_config(depth=1, width=64, norm="none"), 3, 0))["encoder_0_conv_1/kernel"]
    assert kernel.var() == pytest.approx(2 / (9 * 64), rel=0.02)
    assert abs(kernel.mean()) < 0.001


def test_gradient_reaches_every_trainable_weight(variant: Variant) -> None:
    """Except with a width of 1, where the only ReLU of a layer may be dead."""
    model, side = variant.model, 4 * variant.multiple
    target = tf.constant(np.random.default_rng(1).normal(size=(2, side, side, 3)), tf.float32)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum((model(images(2, side, side), training=True) - target) ** 2)
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        assert variant.config.width == 1 or np.abs(gradient).max() > 0, variable.path


def expected_parameters(config: ModelConfig, classes: int) -> int:
    """Counted level by level from figure 1 of the paper."""

    def convolution(kernel: int, inputs: int, outputs: int, bias: bool) -> int:
        return kernel * kernel * inputs * outputs + (outputs if bias else 0)

    def block(inputs: int, outputs: int) -> int:
        plain = config.norm == "none"
        norm = 2 * {"none": 0, "group": 2, "batch": 4}[config.norm] * outputs
        return convolution(3, inputs, outputs, plain) + convolution(3, outputs, outputs, plain) + norm

    channels = [config.width * 2**level for level in range(config.depth + 1)]
    total = sum(block(inputs, outputs) for inputs, outputs in zip([3, *channels], channels, strict=False))
    kernel = 2 if config.upsampling == "transposed" else 1
    for level in range(config.depth):
        total += convolution(kernel, channels[level + 1], channels[level], True)
        total += block(2 * channels[level], channels[level])
    heads = channels if config.logits == "every_level" else channels[:1]
    return total + sum(convolution(1, inputs, classes, True) for inputs in heads)


def test_the_number_of_parameters_is_as_counted_by_hand(variant: Variant) -> None:
    assert variant.model.count_params() == expected_parameters(variant.config, 3)


def test_parameters_of_the_smallest_network() -> None:
    """One channel, one level, two classes, no normalisation: 28 + 10, 20 + 38, 3, 19 + 10, 4."""
    model = build_unet(model_config(depth=1, width=1, norm="none", upsampling="nearest"), 2, seed=0)
    assert model.count_params() == 38 + 58 + 3 + 29 + 4


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize("upsampling", ["transposed", "nearest", "bilinear"])
def test_half_precision_inside_and_float32_at_both_ends(policy: str, upsampling: str, precision: None) -> None:
    half = policy.removeprefix("mixed_")
    keras.config.set_dtype_policy(policy)
    model = build_unet(model_config(upsampling=upsampling), 3, seed=0)
    logits = model(images(1, 16, 16))
    assert logits.dtype == tf.float32
    assert model.get_layer("input_scaling").compute_dtype == model.get_layer("logits").compute_dtype == "float32"
    inner = [layer for layer in model.layers if layer.name not in ("image", "input_scaling", "logits")]
    assert {layer.compute_dtype for layer in inner} == {half}
    assert {keras.backend.standardize_dtype(layer.output.dtype) for layer in inner} == {half}
    assert {weight.dtype for weight in model.weights} == {"float32"}
    keras.config.set_dtype_policy("float32")
    exact = build_unet(model_config(upsampling=upsampling), 3, seed=0)(images(1, 16, 16)).numpy()
    assert 0 < np.abs(logits - exact).max() < 0.05 * np.ptp(exact)


def test_input_is_scaled_to_minus_one_to_one() -> None:
    model = build_unet(model_config(), 3, seed=0)
    scaled = model.get_layer("input_scaling")(tf.constant([0, 127, 128, 255], tf.uint8))
    np.testing.assert_allclose(scaled, [-1, 127 / 127.5 - 1, 128 / 127.5 - 1, 1], atol=1e-6)


@pytest.mark.parametrize("norm", ["batch", "group", "none"])
def test_dropout_is_active_only_in_training(norm: str) -> None:
    model = build_unet(model_config(norm=norm, dropout=0.5), 3, seed=0)
    image = images(2, 16, 16)
    np.testing.assert_array_equal(model(image, training=False), model(image, training=False))
    assert (model(image, training=True).numpy() != model(image, training=True).numpy()).any()
    assert [layer.name for layer in model.layers if isinstance(layer, keras.layers.Dropout)] == [
        "encoder_1_dropout",
        "bottom_dropout",
    ]
    seeds = [layer.seed for layer in model.layers if isinstance(layer, keras.layers.Dropout)]
    assert len(set(seeds)) == 2


def test_dropout_is_a_function_of_the_seed() -> None:
    image = images(2, 16, 16)
    one, same, other = (build_unet(model_config(dropout=0.5), 3, seed=seed) for seed in (4, 4, 5))
    for model in (same, other):
        for mine, theirs in zip(model.trainable_variables, one.trainable_variables, strict=True):
            mine.assign(theirs)
    for _ in range(2):
        first = one(image, training=True)
        np.testing.assert_array_equal(first, same(image, training=True))
        assert (first.numpy() != other(image, training=True).numpy()).any()


def test_batch_statistics_change_only_in_training() -> None:
    model = build_unet(model_config(), 3, seed=0)
    before = weights(model)
    model(images(2, 16, 16), training=False)
    assert all((values == before[name]).all() for name, values in weights(model).items())
    model(images(2, 16, 16), training=True)
    moved = {name for name, values in weights(model).items() if (values != before[name]).any()}
    assert moved == {name for name in before if "/moving_" in name} and moved


@pytest.mark.parametrize("upsampling", ["nearest", "bilinear"])
def test_upsampling_equals_tf_image_resize(upsampling: str) -> None:
    model = build_unet(model_config(depth=1, width=2, upsampling=upsampling), 3, seed=0)
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 3, 5, 2)), tf.float32)
    enlarged = model.get_layer("decoder_0_up")(x)
    np.testing.assert_allclose(enlarged, tf.image.resize(x, (6, 10), method=upsampling), atol=1e-6)
    np.testing.assert_allclose(tf.reduce_mean(enlarged, (1, 2)), tf.reduce_mean(x, (1, 2)), atol=0.3)


def test_logits_of_all_levels_are_summed() -> None:
    """Each level's are enlarged bilinearly; deep features reach the sum without the decoder."""
    config = model_config(logits="every_level")
    model, image = build_unet(config, 3, seed=0), images(1, 16, 16)
    names = ["logits_2", "logits_1", "logits"]
    of_level = keras.Model(model.input, [model.get_layer(name).output for name in names])(image)
    total = of_level[0]
    for finer in of_level[1:]:
        total = tf.image.resize(total, finer.shape[1:3]) + finer
    np.testing.assert_allclose(model(image), total, atol=1e-5)
    assert np.abs(model(image)).max() < 0.5  # near zero at the start, whatever the features
    before = model(image).numpy()
    for name in names[1:]:
        for variable in model.get_layer(name).trainable_variables:
            variable.assign(tf.zeros_like(variable))
    deepest = model(image).numpy()
    assert np.ptp(deepest) > 0 and (deepest != before).any()


def test_skip_connections_carry_detail_past_the_bottom() -> None:
    """With the upward path set to zero, a changed pixel still changes the logits around it."""
    model = build_unet(model_config(norm="none"), 3, seed=0)
    for variable in model.get_layer("decoder_0_up_conv").trainable_variables:
        variable.assign(tf.zeros_like(variable))
    one = images(1, 16, 16).numpy()
    other = one.copy()
    other[0, 5, 5] = 255 - other[0, 5, 5]
    changed = np.abs(model(one).numpy() - model(other).numpy())[0].max(axis=-1) > 1e-7
    assert changed[5, 5] and changed.sum() <= 81  # four 3x3 convolutions see 9x9
