"""The file that MLflow stores with a logged model and runs when the model is loaded: images in, class indices out.

MLflow stores a copy of this package next to it, so the model loads without the project; nothing is unpickled.
"""

import json
import logging
import threading
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc.model import PythonModel


class SegmentationModel(PythonModel):
    """The network of a run, as MLflow loads and serves it."""

    def load_context(self, context: Any) -> None:
        from pipeline.config.stored import read_config
        from pipeline.runtime.hardware import import_tensorflow
        from pipeline.runtime.kernels import ROUNDED, difference

        files = {name: Path(path) for name, path in context.artifacts.items()}
        config = read_config(files["config"])
        import_tensorflow(config.kernels)
        if line := difference(config.kernels):
            logging.getLogger(__name__).warning("%s: %s", line, ROUNDED)
        from pipeline.data.pixels import PixelRules
        from pipeline.model.build import load_network
        from pipeline.model.inference import logits_predictor
        from pipeline.runtime.keras_settings import keras_set
        from pipeline.tracking.serving import refuse_unknown_params

        refuse_unknown_params()
        recorded = json.loads(files["weights_sha256"].read_text())
        self._rules = PixelRules.of(config.dataset)
        # Of the threads of a server one predicts at a time: more would need more memory, and disturb each other's TF32.
        self._predicting = threading.Lock()
        # With the precision and the other settings of training, so that the masks are those that were scored.
        with keras_set(config.precision):
            network = load_network(config, files["weights"], recorded)
            # Traced here, since Keras looks at some settings when a network is called.
            self._logits = logits_predictor(network, config).get_concrete_function()

    def predict(
        self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray | list[np.ndarray]:
        """Class indices of images or, with `probabilities`, the probability of each class.

        Args:
            model_input: or {"image": an array}; see `pipeline.tracking.served_images.read_images`.
            params: see `pipeline.tracking.serving.Wanted`.

        Returns:
            (batch, height, width) uint8, or (batch, height, width, classes) float32; for images of several sizes a list
            of such arrays without the first axis. Height and width are the image's times `scale`.

        Raises:
            BadRequest: an image or a parameter is wrong.
        """
        from pipeline.tracking.served_images import read_images
        from pipeline.tracking.serving import Wanted

        wanted = Wanted.of(params)
        found = [self._predict_one(image, wanted) for image in read_images(model_input, self._rules)]
        return np.stack(found) if len({result.shape for result in found}) == 1 else found

    def _predict_one(self, image: np.ndarray, wanted: Any) -> np.ndarray:
        """Args: image: (height, width, 3) uint8. wanted: a `pipeline.tracking.serving.Wanted`."""
        import tensorflow as tf
        from tensorflow.config import experimental

        from pipeline.model.inference import class_indices

        with self._predicting:
            # With TF32 a GPU would use only ten bits of a float32's mantissa; it was off when the masks were scored.
            callers_setting = experimental.tensor_float_32_execution_enabled()
            experimental.enable_tensor_float_32_execution(False)
            try:
                logits = self._logits(tf.constant(image), tf.constant(wanted.size(image)))
                return (tf.nn.softmax(logits) if wanted.probabilities else class_indices(logits)).numpy()
            finally:
                experimental.enable_tensor_float_32_execution(callers_setting)


set_model(SegmentationModel())
