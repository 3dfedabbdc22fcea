"""The encoders of `model=unet_<encoder>`: ImageNet classifiers, tapped at the strides that a U-Net needs.

Every layer is named `encoder_…`, so that weights have the same names in every process and differ from the decoder's;
every initial weight is a function of (seed, layer) until pretrained weights replace it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from pipeline.model.convolution import Convolution
from pipeline.model.encoders import efficientnet_lite
from pipeline.model.normalization import BatchNormalization
from pipeline.runtime.seeds import derive_seed

ENCODER = "encoder_"  # prefix of the names of an encoder's layers, and of their weights
Features = list[
    keras.KerasTensor | None
]  # at strides 1, 2, 4, …; None at stride 1 where an encoder has no such features


class InputScaling(layers.Layer):
    """Scale RGB, 0 to 255, to what an encoder was trained on: (colour - mean) / deviation, with BGR order if asked for.

    (batch, height, width, 3) uint8 -> float32, whatever the precision: half precision would round the input before the
    first convolution.

    Args:
        mean, deviation: one value per channel, in the order of the output's channels.
    """

    def __init__(self, mean: tuple[float, ...], deviation: tuple[float, ...], bgr: bool = False) -> None:
        super().__init__(dtype="float32", name="input_scaling")
        self.mean, self.deviation, self.bgr = mean, deviation, bgr

    def call(self, image: tf.Tensor) -> tf.Tensor:
        x = tf.cast(image, tf.float32)
        return ((x[..., ::-1] if self.bgr else x) - tf.constant(self.mean)) / tf.constant(self.deviation)


@dataclass(frozen=True)
class Encoder:
    """How to build an encoder on a scaled input, and how that input is scaled."""

    features: Callable[[keras.KerasTensor, int, int], Features]  # (input, depth, seed)
    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    bgr: bool = False

    def build(self, image: keras.KerasTensor, depth: int, seed: int) -> Features:
        """Features of RGB images (batch, height, width, 3) uint8 at strides 1, 2, …, 2**depth."""
        return self.features(InputScaling(self.mean, self.deviation, self.bgr)(image), depth, seed)


@dataclass(frozen=True)
class Application:
    """An encoder of keras.applications, and the layers whose outputs are its features, one for each stride."""

    function: Callable[..., keras.Model]
    taps: tuple[str | None, ...]
    options: tuple[tuple[str, Any], ...] = ()

    def whole(self, weights: str | None = None) -> keras.Model:
        """The network without its classifier, with Keras's own layer names.

        Built for a known, even size: for an unknown one MobileNetV2 pads otherwise than in its training.
        """
        return self.function(include_top=False, weights=weights, input_shape=(224, 224, 3), **dict(self.options))

    def features(self, x: keras.KerasTensor, depth: int, seed: int) -> Features:
        """Features at strides 1, 2, …, 2**depth; the network is rebuilt for any size and without dropout."""
        taps = self.taps[: depth + 1]
        with keras.StatelessScope(initialize_variables=False):  # its layers are copied: it needs no weights
            original = self.whole()
        tensors, outputs = {id(original.input): x}, {}
        for layer in original.layers[1:]:
            inputs = layer.input
            copies = [tensors[id(one)] for one in inputs] if isinstance(inputs, list) else tensors[id(inputs)]
            if isinstance(layer, layers.Dropout):  # EfficientNetV2's would be active in a frozen encoder too
                tensors[id(layer.output)] = copies
                continue
            tensors[id(layer.output)] = outputs[layer.name] = _copied(layer, seed)(copies)
            if layer.name == taps[-1]:
                break
        return [outputs[name] if name else None for name in taps]


def _copied(layer: layers.Layer, seed: int) -> layers.Layer:
    """A new layer of the same kind named `encoder_<name>`, whose weights are a function of (seed, layer)."""
    name = f"{ENCODER}{layer.name}"
    config = {**layer.get_config(), "name": name}
    for key in config.keys() & {"kernel_initializer", "depthwise_initializer"}:
        config[key] = keras.initializers.HeNormal(seed=derive_seed(seed, "weights", name))
    if "momentum" in config:
        config["momentum"] = 0.9  # as in all normalisation layers of this project
    if isinstance(layer, layers.DepthwiseConv2D):  # in bfloat16 a CPU takes up to four times as long
        config["dtype"] = "float32"
    return _own(type(layer)).from_config(config)


def _own(kind: type[layers.Layer]) -> type[layers.Layer]:
    """What this project has instead of one of Keras's layers."""
    if kind is layers.BatchNormalization:
        return BatchNormalization
    return Convolution if kind is layers.Conv2D else kind


APPLICATIONS = {
    "mobilenet_v2": Application(
        keras.applications.MobileNetV2,
        (None, "expanded_conv_project_BN", "block_2_add", "block_5_add", "block_12_add", "out_relu"),
    ),
    "resnet50": Application(
        keras.applications.ResNet50,
        (None, "conv1_relu", "conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
    ),
    "efficientnetv2_b0": Application(
        keras.applications.EfficientNetV2B0,
        (None, "block1a_project_activation", "block2b_add", "block3b_add", "block5e_add", "top_activation"),
        (("include_preprocessing", False),),
    ),
    "vgg16": Application(
        keras.applications.VGG16,
        ("block1_conv2", "block2_conv2", "block3_conv3", "block4_conv3", "block5_conv3", "block5_pool"),
    ),
}
# The scaling of keras.applications.<network>.preprocess_input, and of EfficientNet-Lite's training.
CAFFE = ((103.939, 116.779, 123.68), (1.0,) * 3, True)
IMAGENET = ((0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255))
ENCODERS = {
    **{
        f"efficientnet_lite{size}": Encoder(partial(efficientnet_lite.features, size), (127.0,) * 3, (128.0,) * 3)
        for size in efficientnet_lite.SIZES
    },
    "mobilenet_v2": Encoder(APPLICATIONS["mobilenet_v2"].features, (127.5,) * 3, (127.5,) * 3),
    "resnet50": Encoder(APPLICATIONS["resnet50"].features, *CAFFE),
    "efficientnetv2_b0": Encoder(APPLICATIONS["efficientnetv2_b0"].features, *IMAGENET),
    "vgg16": Encoder(APPLICATIONS["vgg16"].features, *CAFFE),
}
