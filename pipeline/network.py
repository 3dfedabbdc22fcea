"""A stored configuration and stored weights become a network again, built by this code."""

from pathlib import Path

import keras
import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

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
        stored = yaml.safe_load(text) if _is_plain(text) else None
        # Looked for in the values, since YAML can write the two characters as escapes.
        if not isinstance(stored, dict) or "${" in str(stored):
            raise UserError(f"{path}: is not a stored configuration: plain keys and values expected, no '${{'")
        composed = OmegaConf.create(stored)
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: cannot be read as a stored configuration: {' '.join(str(error).split())}") from error
    try:
        return checked(composed)
    except UserError as error:
        raise UserError(*(f"{path}: {fault}" for fault in error.faults)) from error


def _is_plain(text: str) -> bool:
    """Whether YAML is without what can fill memory or time from few bytes: aliases (`*name`) and deep nesting."""
    depth = 0
    for event in yaml.parse(text):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > 9 or isinstance(event, yaml.AliasEvent):
            return False
    return True


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
