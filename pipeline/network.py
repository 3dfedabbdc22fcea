"""The network of a configuration, new or with recorded weights, always built by this code."""

from pathlib import Path

import keras

from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.initial import Initial
from pipeline.model.encoders import ENCODER
from pipeline.model.unet import build_unet
from pipeline.weights import read_arrays, set_weights, weights_sha256


def build_network(config: Config, initial: Initial | None = None) -> keras.Model:
    """The untrained network of a configuration, from (batch, height, width, 3) uint8 to float32 logits.

    Args:
        initial: weights that it starts from; None: those of chance.

    Raises:
        UserError: the weights are another network's.
    """
    network = build_unet(config.model, len(config.dataset.classes), config.seed)
    if initial is not None:
        initial.put_into(network)
    if not config.optimizer.encoder_rate:
        for layer in network.layers:
            layer.trainable = layer.trainable and not layer.name.startswith(ENCODER)
    return network


def load_network(config: Config, weights: Path, expected_sha256: str) -> keras.Model:
    """The network of a configuration with recorded weights.

    Raises:
        UserError: the weights are damaged, are not the recorded ones, or belong to another network.
    """
    arrays = read_arrays(weights)
    found = weights_sha256(arrays)
    if found != expected_sha256:
        raise UserError(f"{weights}: weights_sha256 is {found}, but the run recorded {expected_sha256}")
    network = build_network(config)
    set_weights(network, arrays, str(weights))
    return network
