"""The mean of several networks' probabilities, and one network alone, which predicts as everywhere."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.config.overrides import checked_config
from pipeline.config.schema import Config
from pipeline.model.ensemble import ensemble_predictor
from pipeline.model.inference import predictor, probability_predictor
from pipeline.model.unet import build_unet
from pipeline.runtime.keras_settings import keras_set
from tests.model.networks import model_config, random_image

CONFIG = checked_config(["model.depth=1", "precision=float32"])
CLASSES = 4


def member(seed: int, **changes: object) -> tuple[keras.Model, Config]:
    config = dataclasses.replace(CONFIG, **changes)
    with keras_set(config.precision):
        return build_unet(model_config(depth=1, width=2), CLASSES, seed=seed), config


@pytest.fixture(scope="module")
def members() -> list[tuple[keras.Model, Config]]:
    """Networks that differ in long side, views and precision."""
    flipped = dataclasses.replace(CONFIG.evaluate, flip=True)
    return [member(0), member(1, long_side=12), member(2, evaluate=flipped), member(3, precision="mixed_bfloat16")]


def test_one_network_predicts_as_everywhere(members: list[tuple[keras.Model, Config]]) -> None:
    image = random_image(9, 14)
    for network, config in members[:3]:
        prediction, probabilities = ensemble_predictor([(network, config)])(image.numpy())
        np.testing.assert_array_equal(prediction, predictor(network, config)(image))
        assert prediction.dtype == np.uint8 and probabilities.dtype == np.float32
        assert prediction.shape == (9, 14) and probabilities.shape == (9, 14, CLASSES)
        np.testing.assert_allclose(probabilities.sum(axis=-1), 1, rtol=1e-5)


def test_probabilities_are_summed_in_float32_in_order(members: list[tuple[keras.Model, Config]]) -> None:
    image = random_image(9, 14)
    prediction, mean = ensemble_predictor(members)(image.numpy())
    total = np.zeros((9, 14, CLASSES), np.float32)
    for network, config in members:
        with keras_set(config.precision):
            total = total + probability_predictor(network, config)(image)[1].numpy()
    np.testing.assert_array_equal(mean, total / np.float32(4))
    np.testing.assert_array_equal(prediction, mean.argmax(axis=-1))
    assert mean.dtype == np.float32 and prediction.dtype == np.uint8


def test_each_member_has_the_precision_of_its_run(members: list[tuple[keras.Model, Config]]) -> None:
    image = random_image(9, 14).numpy()
    _, alone = ensemble_predictor(members[3:])(image)
    with keras_set("mixed_bfloat16"):
        expected = probability_predictor(*members[3])(tf.constant(image))[1]
    np.testing.assert_array_equal(alone, expected)
    network, config = members[3]
    with keras_set("float32"):
        exact = build_unet(model_config(depth=1, width=2), CLASSES, seed=3)
    exact.set_weights(network.get_weights())
    _, float32 = ensemble_predictor([(exact, dataclasses.replace(config, precision="float32"))])(image)
    assert (float32 != alone).any()


def test_members_are_needed_in_no_other_order_to_agree(members: list[tuple[keras.Model, Config]]) -> None:
    image = random_image(9, 14).numpy()
    _, mean = ensemble_predictor(members)(image)
    _, other = ensemble_predictor(members[::-1])(image)
    np.testing.assert_allclose(mean, other, rtol=1e-5)
