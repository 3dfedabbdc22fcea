"""The file that MLflow stores with a logged model and runs when the model is loaded: images in, class indices out.

MLflow stores a copy of this package next to it, so the model loads without the project; nothing is unpickled.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class SegmentationModel(PythonModel):
    """`predict` takes (batch, height, width, 3) uint8 RGB and returns (batch, height, width) uint8 class indices."""

    def load_context(self, context: Any) -> None:
        from pipeline.config.stored import read_config
        from pipeline.model.build import load_network
        from pipeline.model.inference import predictor
        from pipeline.runtime.hardware import import_tensorflow
        from pipeline.runtime.keras_settings import keras_set

        import_tensorflow()
        files = {name: Path(path) for name, path in context.artifacts.items()}
        config = read_config(files["config"])
        recorded = json.loads(files["weights_sha256"].read_text())
        # With the precision and the other settings of training, so that the masks are those that were scored.
        with keras_set(config.precision):
            network = load_network(config, files["weights"], recorded)
            # Traced here, since Keras looks at some settings when a network is called.
            self._predict = predictor(network, config).get_concrete_function()

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        import tensorflow as tf
        from tensorflow.config import experimental

        # With TF32 a GPU would use only ten bits of a float32's mantissa; it was off when the masks were scored.
        callers_setting = experimental.tensor_float_32_execution_enabled()
        experimental.enable_tensor_float_32_execution(False)
        try:
            return np.stack([self._predict(tf.constant(image)).numpy() for image in model_input])
        finally:
            experimental.enable_tensor_float_32_execution(callers_setting)


set_model(SegmentationModel())
