"""What an export contains, and which of the formats writes and runs it."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.data.classes import Classes
from pipeline.data.palette import VOID
from pipeline.evaluate.stored_network import StoredNetwork
from pipeline.export.graph import CLASSES, INPUT, PROBABILITIES, in_float32, portable_graph
from pipeline.export.verify import Predict, RunFile
from pipeline.model.inference import predictor
from pipeline.runtime.keras_settings import keras_set

RUNTIMES = {"onnx": "onnxruntime", "litert": "ai-edge-litert", "saved_model": "tensorflow"}
HASHES = ("run_key", "fingerprint", "weights_sha256")  # tags of the run


@dataclass(frozen=True)
class Export:
    """A run's network on its way to a file."""

    stored: StoredNetwork
    config: Config  # of the run, with the views asked for and the data to compare on
    format: str  # onnx, litert or saved_model
    probabilities: bool  # returned instead of class indices
    quantized: bool  # to int8

    @property
    def precision(self) -> str:
        """The precision in which the file computes. Only TensorFlow has the operations of mixed precisions in full."""
        return self.config.precision if self.format == "saved_model" else "float32"

    @property
    def metric_prefix(self) -> str:
        """What the names of metrics that are logged to the run begin with."""
        return f"export/{self.format}{'_int8' if self.quantized else ''}/"

    @property
    def runtime(self) -> str:
        """The package that runs the file, and its version."""
        name = RUNTIMES[self.format]
        return f"{name} {metadata.version(name)}"

    def metadata(self) -> dict[str, object]:
        """What the file says of itself, as plain values; the classes are the run's, whatever data it is compared on."""
        dataset = self.stored.config.dataset
        classes = Classes.of(dataset)
        return {
            "run_id": self.stored.run_id,
            **{name: self.stored.tags[name] for name in HASHES if name in self.stored.tags},
            "classes": list(classes.names),
            "colours": [f"#{red:02x}{green:02x}{blue:02x}" for red, green, blue in classes.colours],
            "background": dataset.background,
            "void": VOID,
            "input": f"{INPUT}: (batch, height, width, 3) uint8 RGB",
            "output": f"{PROBABILITIES}: (batch, height, width, classes) float32"
            if self.probabilities
            else f"{CLASSES}: (batch, height, width) uint8",
            "precision": self.precision,
            "quantize": "int8" if self.quantized else None,
            "long_side": self.config.long_side,
            "views": {
                "scales": list(self.config.evaluate.scales),
                "flip": self.config.evaluate.flip,
                "window": self.config.evaluate.window,
            },
        }

    def write(self, path: Path, calibration: Sequence[np.ndarray]) -> None:
        """Write the file, or folder.

        Args:
            calibration: images (height, width, 3) uint8, on which LiteRT's ranges of 8-bit numbers are measured.
        """
        if self.format == "saved_model":
            from pipeline.export import saved_model

            saved_model.write(self.stored.network, self.config, path, self.metadata(), self.probabilities)
            return
        network = in_float32(self.stored.network, self.config)
        with keras_set("float32"):
            graph = portable_graph(network, self.config, self.probabilities)
            if self.format == "onnx":
                from pipeline.export import onnx_file

                onnx_file.write(graph, path, self.metadata(), len(self.config.dataset.classes), self.quantized)
            else:
                from pipeline.export import litert_file

                litert_file.write(graph, path, self.metadata(), calibration if self.quantized else None)

    def open(self, path: Path) -> RunFile:
        """A function that runs the written file by its own runtime."""
        threads = int(self.config.threads)
        if self.format == "onnx":
            from pipeline.export import onnx_file

            return onnx_file.open_file(path, threads)
        if self.format == "litert":
            from pipeline.export import litert_file

            return litert_file.open_file(path, threads)
        from pipeline.export import saved_model

        return saved_model.open_file(path)

    def networks(self) -> dict[str, Predict]:
        """What the file is compared with: the run's network and, if the file has another precision, that one."""
        config, network = self.config, self.stored.network
        found = {f"the run's network, {config.precision}": _predict(network, config)}
        if self.precision != config.precision:
            with keras_set(self.precision):
                found[f"the run's network, {self.precision}"] = _predict(in_float32(network, config), config)
        return found


def _predict(network: keras.Model, config: Config) -> Predict:
    function = predictor(network, config).get_concrete_function()  # traced here, with the settings that hold now
    return lambda image: function(tf.constant(image)).numpy()
