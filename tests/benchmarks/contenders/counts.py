"""Confusion matrices of predictions that lie in memory: this project's, numpy's, or torchmetrics'."""

import numpy as np

from tests.benchmarks.contenders.repeats import serve, settings

wanted = settings()
classes, images = 21, wanted["images"]
rng = np.random.default_rng(0)
masks = rng.integers(0, classes + 1, (images, 375, 500)).astype(np.uint8)
masks[masks == classes] = 255
predictions = rng.integers(0, classes, (images, 375, 500)).astype(np.uint8)

if wanted["way"] == "ours":
    import tensorflow as tf

    from pipeline.evaluate.evaluator import confusion_matrix

    tf.config.threading.set_intra_op_parallelism_threads(wanted["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(wanted["threads"])
    count = tf.function(lambda mask, prediction: confusion_matrix(mask, prediction, classes))
    data = [(tf.constant(mask), tf.constant(prediction)) for mask, prediction in zip(masks, predictions, strict=True)]

    def matrix() -> np.ndarray:
        return sum(count(*pair).numpy() for pair in data)
elif wanted["way"] == "numpy":

    def matrix() -> np.ndarray:
        total = np.zeros(classes**2, np.int64)
        for mask, prediction in zip(masks, predictions, strict=True):
            valid = mask != 255
            total += np.bincount(mask[valid].astype(np.int64) * classes + prediction[valid], minlength=classes**2)
        return total.reshape(classes, classes)
else:
    import torch
    from torchmetrics.classification import MulticlassConfusionMatrix

    torch.set_num_threads(wanted["threads"])
    metric = MulticlassConfusionMatrix(classes, ignore_index=255)
    tensors = [
        (torch.from_numpy(prediction), torch.from_numpy(mask).long())
        for mask, prediction in zip(masks, predictions, strict=True)
    ]

    def matrix() -> np.ndarray:
        metric.reset()
        for prediction, mask in tensors:
            metric.update(prediction, mask)
        return metric.compute().numpy()


assert matrix().sum() == (masks != 255).sum()


def work() -> float:
    """In images of 500x375."""
    matrix()
    return images


serve(work)
