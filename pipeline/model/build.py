"""The network of a configuration, new, with a start of its own or with recorded weights, always built by this code."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras

from pipeline.config.schema import Config
from pipeline.model.encoders.registry import ENCODER
from pipeline.model.unet import LOGITS, build_unet
from pipeline.model.weights import Arrays, assign, named_variables, read_arrays, set_weights, weights_sha256
from pipeline.runtime.errors import UserError


@dataclass(frozen=True)
class InitialWeights:
    """Weights in the place of random ones: an encoder's, or all, with other classes all but those of the logits.

    `origin` is the key that names them; `note` says what a person should know of them.
    """

    arrays: Arrays
    origin: str
    encoder_only: bool = False
    note: str | None = None

    @property
    def new_logits(self) -> bool:
        """Whether what gives the logits starts from random weights."""
        return not self.encoder_only and not any(name.startswith(LOGITS) for name in self.arrays)

    @cached_property
    def sha256(self) -> str:
        """The hash of the arrays, whatever file they came in."""
        return weights_sha256(self.arrays)

    def put_into(self, network: keras.Model) -> None:
        """Replace the network's weights.

        Raises:
            UserError: it has others.
        """
        variables = named_variables(network)
        arrays = self.arrays
        if self.encoder_only:  # and of that not what lies behind the last features that the network uses
            variables = {name: variable for name, variable in variables.items() if name.startswith(ENCODER)}
            arrays = {name: array for name, array in arrays.items() if name in variables}
        elif self.new_logits:
            variables = {name: variable for name, variable in variables.items() if not name.startswith(LOGITS)}
        assign(variables, arrays, self.origin)


def build_network(config: Config, initial: InitialWeights | None = None) -> keras.Model:
    """The untrained network of a configuration, from (batch, height, width, 3) uint8 to float32 logits.

    Args:
        initial: weights that it starts from; None: random ones.

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
