"""What training will take, estimated before the first step: operations, memory, steps."""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import psutil
import tensorflow as tf

from pipeline.config.schema import Config
from pipeline.model.encoders.registry import ENCODER
from pipeline.runtime.errors import UserError
from pipeline.runtime.limits import available_memory

MIB = 2**20
BYTES = {"float16": 2, "bfloat16": 2}  # of a value of another type than float32
# Fitted to the peak memory of 15 networks on an Intel Xeon with AMX (tests/benchmarks/memory.py).
COMPILED = 150 * MIB  # graphs and kernels
SHARE_KEPT = {"float32": 0.85}  # of the activations, until the gradients are computed; in lower precision, with copies:
SHARE_IN_LOW_PRECISION = 1.1
LOGIT_COPIES, WEIGHT_COPIES = 3, 2  # softmax and gradients; gradients and updates
CERTAIN = 0.6  # of the estimate without COMPILED: no network took less than 0.78 of it


@dataclass(frozen=True)
class TrainingCost:
    """What training takes besides its data. Memory is what it takes beyond that of the built network."""

    parameters: int
    flop_per_image: float  # of a training image: the forward pass, and twice as many for the gradients
    bytes_per_image: float
    bytes_in_any_case: float

    def memory(self, batch_size: int) -> float:
        """Bytes, about."""
        return self.bytes_in_any_case + batch_size * self.bytes_per_image

    def least_memory(self, batch_size: int) -> float:
        """Bytes that training certainly takes."""
        return CERTAIN * (self.memory(batch_size) - COMPILED)

    def largest_batch(self, available: float) -> int:
        """The largest batch whose estimate fits into so many bytes; 0 if none does."""
        return max(0, int((available - self.bytes_in_any_case) / self.bytes_per_image))


def training_cost(network: keras.Model, config: Config) -> TrainingCost:
    """The cost of training a network.

    Args:
        network: from (batch, height, width, 3) uint8 to (batch, height, width, classes) float32 logits.
    """
    frozen = not config.optimizer.encoder_rate
    flop = activations = 0.0
    for operation, image, output in _layers(network, config.image_size):
        learns = not (frozen and operation.name.startswith(ENCODER))
        flop += (3 if learns else 1) * _forward_flop(operation, image, output)
        # Of a frozen encoder, nothing is needed for gradients.
        activations += np.prod(output.shape) * BYTES.get(output.dtype, 4) if learns else 0
    kept = SHARE_KEPT.get(config.precision, SHARE_IN_LOW_PRECISION)
    logits = 4 * config.image_size**2 * len(config.dataset.classes)
    weights = 4 * sum(int(np.prod(variable.shape)) for variable in network.trainable_variables)
    return TrainingCost(
        parameters=network.count_params(),
        flop_per_image=flop,
        bytes_per_image=kept * activations + LOGIT_COPIES * logits,
        bytes_in_any_case=COMPILED + WEIGHT_COPIES * weights,
    )


def require_memory(cost: TrainingCost, config: Config) -> None:
    """Refuse a batch size for which the memory certainly does not suffice, so that no process dies of it later.

    What other processes use now counts as used, swap as free, and so does what this process uses: an earlier trial may
    have left it to be used again. The memory of GPUs is not looked at.

    Raises:
        UserError: it does not suffice; names the batch size that would.
    """
    if tf.config.list_physical_devices("GPU"):
        return
    available = available_memory() + psutil.swap_memory().free
    if cost.least_memory(config.batch_size) <= available + _used_here():
        return
    batch = cost.largest_batch(available)
    what_to_do = f"at most {batch} expected" if batch else "a smaller image_size or network expected"
    raise UserError(
        f"batch_size={config.batch_size}: training takes about {cost.memory(config.batch_size) / 2**30:.1f} GB more "
        f"than now, and {available / 2**30:.1f} GB are left for this process; {what_to_do}"
    )


def _used_here() -> int:
    """Bytes of memory that this process has."""
    return int(psutil.Process().memory_info().rss)


def _layers(network: keras.Model, side: int) -> list[tuple[Any, Any, Any]]:
    """(layer, its input, its output) for one image of this size, as tensors without values."""
    found = []

    def followed(operation: Any) -> Any:
        def call(*inputs: Any, **arguments: Any) -> Any:
            output = operation.compute_output_spec(*inputs, **arguments)
            found.append((operation, inputs[0], output))
            return output

        return call

    # What Keras's own `compute_output_spec` of a network does.
    network._run_through_graph((keras.KerasTensor((1, side, side, 3), dtype="uint8"),), operation_fn=followed)
    return found


def _forward_flop(operation: Any, image: Any, output: Any) -> float:
    """Floating-point operations of a convolution for one image; two for each product that is added up."""
    if not hasattr(operation, "kernel"):
        return 0.0
    places = image if isinstance(operation, keras.layers.Conv2DTranspose) else output  # (1, height, width, channels)
    return 2.0 * float(np.prod(operation.kernel.shape)) * float(np.prod(places.shape[1:-1]))
