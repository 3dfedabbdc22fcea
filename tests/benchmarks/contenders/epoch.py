"""An epoch of training with all that belongs to it, by this project's stream or as a keras.io example does it.

Both train the same U-Net of Keras's and of this project's layers respectively, on crops of one size. The example's way
is a `PyDataset` that loads, resizes and stacks each batch in Python, and a plain `fit`.
"""

from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from keras.utils import img_to_array, load_img
from PIL import Image

from pipeline.config.overrides import checked_config
from pipeline.data.stream import steps_per_epoch, training_stream
from pipeline.data.training_images import training_images
from pipeline.model.build import build_network
from pipeline.model.losses import SegmentationLoss
from pipeline.runtime.hardware import resolve_auto, set_up
from tests.benchmarks.contenders.clock import Clock
from tests.benchmarks.contenders.examples import NOWHERE, examples_of
from tests.benchmarks.contenders.repeats import serve, settings

wanted = settings()
side, batch, classes = wanted["side"], wanted["batch"], 21
config = resolve_auto(
    checked_config(
        ["dataset=voc2012", f"image_size={side}", f"long_side={side}", f"batch_size={batch}", "optimizer=adam",
         f"model.width={wanted['width']}", "model.upsampling=transposed", f"threads={wanted['threads']}",
         f"precision={wanted['precision']}"]
    )
)  # fmt: skip
pairs = list(zip(wanted["images"], wanted["masks"], strict=True))
steps = steps_per_epoch(len(pairs), config)


def ours() -> tuple[keras.Model, object]:
    """The network and endless batches."""
    set_up(config)
    examples, sizes = examples_of(wanted)
    images = training_images(examples, sizes, config.long_side, config.cache_mb, NOWHERE)
    network = build_network(config)
    loss = SegmentationLoss(config.loss, np.ones(classes, np.float32))
    network.compile(keras.optimizers.Adam(1e-3), loss)
    stream = training_stream(images, len(examples), replace(config, epochs=1000))
    return network, stream.take(1).cache().repeat() if wanted["one_batch"] else stream


class Pairs(keras.utils.PyDataset):
    """Batches as keras.io's segmentation examples make them."""

    def __len__(self) -> int:
        return steps

    def __getitem__(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        images = np.zeros((batch, side, side, 3), "float32")
        masks = np.zeros((batch, side, side), "uint8")
        for place, (image, mask) in enumerate(pairs[number * batch : (number + 1) * batch]):
            images[place] = img_to_array(load_img(image, target_size=(side, side)))
            indices = np.array(Image.open(mask), np.uint8)  # load_img would give colours
            masks[place] = keras.ops.image.resize(indices[..., np.newaxis], (side, side), "nearest")[..., 0]
        return images, masks


def example() -> tuple[keras.Model, object]:
    """The same U-Net written with Keras's layers alone."""
    tf.config.threading.set_intra_op_parallelism_threads(config.threads)
    tf.config.threading.set_inter_op_parallelism_threads(config.threads)
    if wanted["precision"] != "float32":
        keras.mixed_precision.set_global_policy(wanted["precision"])

    def block(x: keras.KerasTensor, channels: int) -> keras.KerasTensor:
        for _ in range(2):
            x = layers.Conv2D(channels, 3, padding="same", use_bias=False)(x)
            x = layers.ReLU()(layers.BatchNormalization()(x))
        return x

    image = keras.Input((side, side, 3))
    x, skips = layers.Rescaling(1 / 127.5, offset=-1)(image), []
    for level in range(config.model.depth):
        x = block(x, wanted["width"] * 2**level)
        skips.append(x)
        x = layers.MaxPooling2D(2)(x)
    x = block(x, wanted["width"] * 2**config.model.depth)
    for level in reversed(range(config.model.depth)):
        x = layers.Conv2DTranspose(wanted["width"] * 2**level, 2, strides=2)(x)
        x = block(layers.Concatenate()([skips[level], x]), wanted["width"] * 2**level)
    network = keras.Model(image, layers.Conv2D(classes, 1, dtype="float32")(x))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    network.compile(keras.optimizers.Adam(1e-3), loss)
    return network, Pairs()


network, stream = ours() if wanted["ours"] else example()


def work() -> tuple[float, float]:
    """In images."""
    clock = Clock()
    network.fit(stream, steps_per_epoch=steps, epochs=1, verbose=0, shuffle=False, callbacks=[clock])
    return steps * batch, clock.seconds


serve(work)
