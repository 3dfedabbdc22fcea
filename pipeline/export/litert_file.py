"""LiteRT (formerly TensorFlow Lite): written by TensorFlow's converter, run by LiteRT's interpreter."""

import json
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from pipeline.export.graph import INPUT, Graph
from pipeline.export.verify import RunFile
from pipeline.runtime.native_output import held_back

METADATA = "metadata.json"
SIGNATURE = "serving_default"


def write(graph: Graph, path: Path, metadata: Mapping[str, object], calibration: Sequence[np.ndarray] | None) -> None:
    """Write a file, with the metadata as the file `metadata.json` in a zip archive at its end.

    So does the standard TFLite Metadata with its associated files: interpreters ignore what follows the model.

    Args:
        calibration: images (height, width, 3) uint8, on which the ranges of 8-bit numbers are measured; None: float32.
    """
    signature = [tf.TensorSpec((None, None, None, 3), tf.uint8, name=INPUT)]
    module = tf.Module()
    function = tf.function(graph, input_signature=signature, autograph=False)
    with tempfile.TemporaryDirectory() as private:
        tf.saved_model.save(module, private, signatures={SIGNATURE: function})
        converter = tf.lite.TFLiteConverter.from_saved_model(private)
        if calibration is not None:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([image[np.newaxis]] for image in calibration)
        with held_back():
            path.write_bytes(converter.convert())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(METADATA, json.dumps(metadata, indent=1, ensure_ascii=False) + "\n")


def open_file(path: Path, threads: int) -> RunFile:
    """A function that runs the file by LiteRT, from (batch, height, width, 3) uint8 to its output."""
    with held_back():
        interpreter = Interpreter(str(path), num_threads=threads)
        interpreter.allocate_tensors()
    (image,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(images: np.ndarray) -> np.ndarray:
        interpreter.resize_tensor_input(image["index"], images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(image["index"], images)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return run
