"""A stored configuration and stored weights become a network again, built by this code."""

from pathlib import Path

import keras
import yaml
from omegaconf import OmegaConf

from pipeline.checkpoint import read_arrays, set_weights, weights_sha256
from pipeline.command_line import checked
from pipeline.config import Config
from pipeline.errors import UserError
from pipeline.model.unet import build_unet


def build_network(config: Config) -> keras.Model:
    """The untrained network of a configuration, from (batch, height, width, 3) uint8 to float32 logits."""
    return build_unet(config.model, len(config.dataset.classes), config.seed)


def read_config(path: Path) -> Config:
    """A configuration stored with a run: plain values that pass the schema like ones typed by hand.

    Raises:
        UserError: it is no such configuration; also where it holds an interpolation (`${…}`), which a stored
            configuration never has and which could read this machine's environment.
    """
    try:
        text = path.read_text(encoding="utf-8")
        # An alias (`*name`) repeats what was said before, and a few of them multiply to more than memory holds.
        plain = not any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text))
        stored = yaml.safe_load(text) if plain else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UserError(f"{path}: cannot be read as a stored configuration: {' '.join(str(error).split())}") from error
    # Looked for in the values, since YAML can write the two characters as escapes.
    if not isinstance(stored, dict) or "${" in str(stored):
        raise UserError(f"{path}: is not a stored configuration: plain keys and values expected, no '${{'")
    return checked(OmegaConf.create(stored))


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
