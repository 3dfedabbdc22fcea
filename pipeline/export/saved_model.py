"""TensorFlow's SavedModel: the run's own operations and precision, so that its masks are the run's to the last bit."""

import json
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.export.graph import INPUT, output
from pipeline.export.verify import RunFile
from pipeline.model.inference import logits_of_decoded

METADATA = Path("assets.extra") / "metadata.json"  # the folder that the format leaves to whoever writes it
SIGNATURE = "serving_default"


def write(
    network: keras.Model, config: Config, path: Path, metadata: Mapping[str, object], probabilities: bool
) -> None:
    """Write a folder whose signature takes a batch of images, which are predicted one by one, as the run does it.

    Args:
        network: in the precision of the run.
        config: how images are scaled and viewed.
    """
    logits_of = logits_of_decoded(network, config)
    spec = tf.TensorSpec((None, None, network.output_shape[-1]), tf.float32)

    @tf.function(input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8, name=INPUT)], autograph=False)
    def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = tf.map_fn(logits_of, images, fn_output_signature=spec, parallel_iterations=1)
        return output(logits, probabilities)

    module = tf.Module()
    module.network = network  # whose variables the function uses
    tf.saved_model.save(module, str(path), signatures={SIGNATURE: predict})
    place = path / METADATA
    place.parent.mkdir()
    place.write_text(json.dumps(metadata, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def open_file(path: Path) -> RunFile:
    """A function that runs the folder by TensorFlow, from (batch, height, width, 3) uint8 to its output.

    TensorFlow has the threads that this process was set up with.
    """
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures[SIGNATURE]

    def run(images: np.ndarray) -> np.ndarray:
        (found,) = signature(tf.constant(images)).values()
        return found.numpy()

    return run
