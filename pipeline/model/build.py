"""Build the network of a configuration: untrained, with initial weights, or with the recorded weights of a run."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import keras

from pipeline.config.schema import Config
from pipeline.model.dropout import Dropout
from pipeline.model.encoders.registry import ENCODER
from pipeline.model.unet import LOGITS, build_unet
from pipeline.model.weights import Arrays, assign, named_variables, read_arrays, set_weights, weights_sha256
from pipeline.runtime.errors import UserError
from pipeline.runtime.seeds import derive_seed


@dataclass(frozen=True)
class InitialWeights:
    """Weights that replace the random ones: an encoder's, all of a network's, or all but the logits'.

    The logits are left out where the weights come from a network with other classes.

    Attributes:
        arrays: "<layer>/<variable>" -> values, float32.
        source: the configuration key and value that names them, for messages.
        encoder_only: only the encoder's weights are replaced.
        note: what the user should know about them.
    """

    arrays: Arrays
    source: str
    encoder_only: bool = False
    note: str | None = None

    @property
    def new_logits(self) -> bool:
        """Whether the layers that compute the logits keep their random weights."""
        return not self.encoder_only and not any(name.startswith(LOGITS) for name in self.arrays)

    @cached_property
    def sha256(self) -> str:
        """The hash of the arrays; it does not depend on the file that they were read from."""
        return weights_sha256(self.arrays)

    def put_into(self, network: keras.Model) -> None:
        """Replace the network's weights.

        Raises:
            UserError: a name, shape or dtype differs from the network's.
        """
        variables = named_variables(network)
        arrays = self.arrays
        if self.encoder_only:  # the file also has layers behind the deepest features that the network uses
            variables = {name: variable for name, variable in variables.items() if name.startswith(ENCODER)}
            arrays = {name: array for name, array in arrays.items() if name in variables}
        elif self.new_logits:
            variables = {name: variable for name, variable in variables.items() if not name.startswith(LOGITS)}
        assign(variables, arrays, self.source)


def build_network(config: Config, initial: InitialWeights | None = None) -> keras.Model:
    """The untrained network of a configuration, from (batch, height, width, 3) uint8 to float32 logits.

    Args:
        initial: weights to start from; None: random weights.

    Raises:
        UserError: the weights belong to another network.
    """
    network = build_unet(config.model, len(config.dataset.classes), config.seed)
    if initial is not None:
        initial.put_into(network)
    if not config.optimizer.encoder_rate:
        for layer in network.layers:
            layer.trainable = layer.trainable and not layer.name.startswith(ENCODER)
    return network


def renew_network(network: keras.Model, config: Config, initial: InitialWeights | None = None) -> None:
    """Give a network of `build_network`, which may have been trained, what a new one of the configuration has.

    That is its weights, the rate of its dropout and the states of its random generators. It takes a tenth of the time
    that building takes.

    Args:
        config: of a network with the same layers.
        initial: as in `build_network`.

    Raises:
        UserError: the weights belong to another network.
    """
    for layer in network.layers:
        for weight in layer.weights:
            weight.assign(_initializer(layer, weight, config.seed)(weight.shape, weight.dtype))
        if isinstance(layer, Dropout):
            place = layer.name.removesuffix("_dropout")
            layer.become(config.model.dropout, derive_seed(config.seed, "dropout", place))
    if initial is not None:
        initial.put_into(network)


def _initializer(layer: keras.Layer, weight: keras.Variable, seed: int) -> keras.Initializer:
    """The initializer that a layer of a network with another seed has for a weight."""
    name = "depthwise" if isinstance(layer, keras.layers.DepthwiseConv2D) and weight.name == "kernel" else weight.name
    initializer: keras.Initializer = getattr(layer, f"{name}_initializer")
    values = initializer.get_config()
    if "seed" not in values:
        return initializer
    return initializer.from_config({**values, "seed": derive_seed(seed, "weights", layer.name)})


def load_network(config: Config, weights: Path, expected_sha256: str) -> keras.Model:
    """The network of a configuration with the weights of a stored run.

    Args:
        weights: an npz file, see `pipeline.model.weights`.
        expected_sha256: the `weights_sha256` that the run recorded.

    Raises:
        UserError: the file is damaged, has another hash, or belongs to another network.
    """
    arrays = read_arrays(weights)
    found = weights_sha256(arrays)
    if found != expected_sha256:
        raise UserError(f"{weights}: weights_sha256 is {found}, but the run recorded {expected_sha256}")
    network = build_network(config)
    set_weights(network, arrays, str(weights))
    return network
