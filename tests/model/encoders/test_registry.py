"""Encoders: features, names, seeds and input scaling, compared with the networks that they come from."""

import re

import keras
import numpy as np
import pytest

from pipeline.config.schema import ENCODERS as NAMES
from pipeline.model.encoders.registry import APPLICATIONS, ENCODERS
from pipeline.model.unet import build_unet
from pipeline.model.weights import named_weights, weights_sha256
from tests.model.networks import model_config

PREPROCESS = {
    "mobilenet_v2": keras.applications.mobilenet_v2.preprocess_input,
    "resnet50": keras.applications.resnet50.preprocess_input,
    "vgg16": keras.applications.vgg16.preprocess_input,
    "efficientnetv2_b0": lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
}


@pytest.fixture(scope="module", params=NAMES)
def networks(request: pytest.FixtureRequest) -> tuple[str, keras.Model, keras.Model]:
    """Each encoder, and U-Nets with it of depth 5 and 1, both from seed 1."""
    return request.param, unet(request.param, seed=1), unet(request.param, 1, seed=1)


def unet(encoder: str, depth: int = 5, seed: int = 0, dropout: float = 0.0) -> keras.Model:
    return build_unet(model_config(f"unet_{encoder}", depth=depth, dropout=dropout), 3, seed)


def test_every_name_has_an_encoder() -> None:
    assert tuple(ENCODERS) == NAMES


def test_logits_have_the_size_of_the_image_at_any_depth(networks: tuple[str, keras.Model, keras.Model]) -> None:
    _, deepest, shallow = networks
    for depth, model in ((5, deepest), (1, shallow)):
        multiple = 2**depth
        logits = model(np.zeros((2, multiple, 2 * multiple, 3), np.uint8))
        assert logits.shape == (2, multiple, 2 * multiple, 3) and logits.dtype == "float32"
        odd = [
            layer.name
            for layer in model.layers
            if not re.match("encoder_|decoder_|bottom|input_|image|logits", layer.name)
        ]
        assert odd == []


def test_weights_are_a_function_of_seed_and_layer(networks: tuple[str, keras.Model, keras.Model]) -> None:
    encoder, *of_one_seed = networks
    keras.utils.set_random_seed(99)
    deep, shallow, again, other = map(named_weights, (*of_one_seed, unet(encoder, 1, seed=1), unet(encoder, 1, seed=2)))
    assert weights_sha256(again) == weights_sha256(shallow)
    encoders = [name for name in shallow if name.startswith("encoder_")]
    assert all(np.array_equal(deep[name], shallow[name]) for name in encoders)
    kernels = [name for name in encoders if name.endswith("kernel")]
    assert kernels and all((other[name] != shallow[name]).any() for name in kernels)


@pytest.mark.parametrize("encoder", [*APPLICATIONS])
def test_features_equal_those_of_keras_applications(encoder: str) -> None:
    application = APPLICATIONS[encoder]
    image = keras.Input((None, None, 3), dtype="uint8")
    features = ENCODERS[encoder].build(image, 5, seed=0)
    ours = keras.Model(image, [feature for feature in features if feature is not None])
    original = application.whole()
    theirs = keras.Model(original.input, [original.get_layer(tap).output for tap in application.taps if tap])
    for layer in theirs.layers:
        if layer.weights:
            layer.set_weights(ours.get_layer(f"encoder_{layer.name}").get_weights())
    image = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    outputs = ours(image)
    assert [feature.shape[1] for feature in outputs] == [224, 112, 56, 28, 14, 7][-len(outputs) :]
    for found, expected in zip(outputs, theirs(PREPROCESS[encoder](image.astype(np.float32))), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * float(np.abs(expected).max()))


@pytest.mark.parametrize("encoder", sorted(set(NAMES) - set(APPLICATIONS)))
def test_strides_double(encoder: str) -> None:
    features = ENCODERS[encoder].build(keras.Input((64, 64, 3), dtype="uint8"), 5, seed=0)
    assert [None if feature is None else feature.shape[1] for feature in features][1:] == [32, 16, 8, 4, 2]
    assert features[0] is None or features[0].shape[1] == 64


def test_a_frozen_normalisation_is_not_changed() -> None:
    config = model_config("unet_efficientnet_lite0", encoder_norm="frozen")
    model = build_unet(config, 3, seed=0)
    before = named_weights(model)
    model.compile(keras.optimizers.SGD(0.1), keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    rng = np.random.default_rng(0)
    model.train_on_batch(rng.integers(0, 256, (2, 16, 16, 3), np.uint8), rng.integers(0, 3, (2, 16, 16), np.uint8))
    changed = {name for name, values in named_weights(model).items() if not np.array_equal(values, before[name])}
    norms = {name for name in before if "_norm" in name}
    assert norms - changed == {name for name in norms if name.startswith("encoder_")}
    assert "encoder_stem/kernel" in changed


@pytest.mark.parametrize("encoder", ["mobilenet_v2", "efficientnetv2_b0"])  # in Keras the second has dropout of its own
def test_dropout_is_only_at_the_bottom(encoder: str) -> None:
    dropouts = [layer.name for layer in unet(encoder, dropout=0.5).layers if isinstance(layer, keras.layers.Dropout)]
    assert dropouts == ["bottom_dropout"]
