"""Weights of keras.applications: from its files, from a failed download, and from files of other networks."""

from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.src.legacy.saving import legacy_h5_format

from pipeline.config.schema import ModelConfig
from pipeline.model.encoders.pretrained import encoder_weights
from pipeline.model.encoders.registry import APPLICATIONS
from pipeline.runtime.errors import UserError
from tests.model.networks import model_config

ENCODER = "mobilenet_v2"


def config(weights: str) -> ModelConfig:
    return model_config(f"unet_{ENCODER}", depth=5, width=16, encoder_weights=weights)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    return APPLICATIONS[ENCODER].whole()


def write(network: keras.Model, path: Path) -> str:
    if path.name.endswith(".weights.h5"):
        network.save_weights(path)
    elif path.name.endswith(".keras"):
        network.save(path)
    else:  # the format of the files that Keras downloads
        with h5py.File(path, "w") as file:
            legacy_h5_format.save_weights_to_hdf5_group(file, network)
    return str(path)


@pytest.mark.parametrize("name", ["w.h5", "w.weights.h5", "w.keras"])
def test_a_local_file_has_every_weight(network: keras.Model, tmp_path: Path, name: str) -> None:
    arrays = encoder_weights(config(write(network, tmp_path / name)))
    assert len(arrays) == len(network.weights)
    for layer in network.layers:
        for weight in layer.weights:
            np.testing.assert_array_equal(arrays[f"encoder_{layer.name}/{weight.name}"], weight)


def test_a_file_of_another_network_is_refused(tmp_path: Path) -> None:
    other = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Conv2D(2, 3, name="Conv1")])
    path = write(other, tmp_path / "other.weights.h5")
    with pytest.raises(UserError, match=r"mobilenet_v2 weights from keras\.applications") as error:
        encoder_weights(config(path))
    assert len(error.value.faults) == 1 and "\n" not in error.value.faults[0]


def test_a_failed_download_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def get_file(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure on https://storage.googleapis.com/…: None -- no route to host")

    monkeypatch.setattr(keras.src.applications.mobilenet_v2.file_utils, "get_file", get_file)
    with pytest.raises(UserError) as error:
        encoder_weights(config("imagenet"))
    assert error.value.faults[0].startswith("model.encoder_weights=imagenet: URL fetch failure on https://storage")
    assert "copy the file from elsewhere and pass model.encoder_weights=<file>, or null" in error.value.faults[0]
