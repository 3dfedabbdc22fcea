"""Predictions with probabilities, by one network or by several whose probabilities are averaged."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.model.inference import probability_predictor
from pipeline.runtime.keras_settings import keras_set

# From a decoded image, (height, width, 3) uint8, to class indices, (height, width) uint8, and probabilities, (height,
# width, classes) float32.
Predict = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


def ensemble_predictor(members: Sequence[tuple[keras.Model, Config]]) -> Predict:
    """The prediction of one network, or of the mean of several networks' probabilities.

    One network predicts as everywhere: the class with the greatest logit. Of several, each scales and views the image
    as its own configuration says; their probabilities at the image's own size are summed in float32 in the order of
    the members, and the class with the greatest mean is predicted, of equal ones the first (Lakshminarayanan et al.
    2017, "Simple and scalable predictive uncertainty estimation using deep ensembles", section 2.4).

    Args:
        members: networks with as many classes each, and their configurations.
    """
    functions = []
    for network, config in members:
        # Traced here, since Keras looks at some settings when a network is called.
        with keras_set(config.precision):
            functions.append(probability_predictor(network, config).get_concrete_function())

    def predict(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = functions[0](tf.constant(image))
        prediction, mean = (part.numpy() for part in found)
        if len(functions) > 1:
            for function in functions[1:]:
                mean = mean + function(tf.constant(image))[1].numpy()
            mean = mean / np.float32(len(functions))
            prediction = mean.argmax(axis=-1).astype(np.uint8)
        return prediction, mean

    return predict
