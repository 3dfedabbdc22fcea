"""TensorFlow on this hardware: imported quietly with the configured kernels, and set up with the other settings."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.runtime.errors import UserError
from pipeline.runtime.keras_settings import check_settings_files, import_keras, keras_variables, set_keras
from pipeline.runtime.kernels import cpu_field, difference, resolve, switch
from pipeline.runtime.limits import processors
from pipeline.runtime.native_output import held_back

if TYPE_CHECKING:
    from pipeline.config.schema import Config


def import_tensorflow(kernels: str = "auto") -> Any:
    """Import TensorFlow, and Keras on it, without the lines that libraries print at import and at the first operation.

    They are written to file descriptor 2, not through Python, and TF_CPP_MIN_LOG_LEVEL does not stop them. If the
    import fails, they are printed.

    Args:
        kernels: the value of the key of this name. If TensorFlow is imported already, it stays as it is: see `set_up`.

    Returns:
        The module tensorflow.

    Raises:
        UserError: Keras cannot be imported with its settings file, or was imported with another backend.
    """
    if "tensorflow" in sys.modules:
        import_keras()
        return sys.modules["tensorflow"]
    check_settings_files()
    switch(resolve(kernels))
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with held_back(), keras_variables():  # TensorFlow imports a part of Keras
        import tensorflow as tf

        tf.config.list_physical_devices()
        import_keras()
    return tf


def resolve_auto(config: Config) -> Config:
    """The configuration with every `auto` replaced. The rule looks at the hardware's capabilities, never at timings.

    precision, with GPUs: that of the GPU with the lowest compute capability: mixed_bfloat16 from 8.0, mixed_float16
    from 7.0, else float32. Without: mixed_bfloat16 if the CPU multiplies bfloat16 in hardware (AVX512_BF16, AMX_BF16),
    else float32.

    threads: the number of processors that this process may use (`pipeline.runtime.limits.processors`).

    kernels: see `pipeline.runtime.kernels.resolve`.
    """
    threads = config.threads if isinstance(config.threads, int) else processors()
    precision = _precision() if config.precision == "auto" else config.precision
    return replace(config, threads=threads, precision=precision, kernels=resolve(config.kernels))


def threads_each(jobs: int) -> int:
    """Threads for each of several processes that work at the same time and share all processors."""
    return max(1, processors() // jobs)


def set_up(config: Config) -> None:
    """Set threads, kernels, determinism and precision of this process's TensorFlow and Keras.

    Threads can only be set before TensorFlow's first operation; a later run in the same process needs the same number.
    float32 is float32 on GPUs as well: their convolutions would otherwise round it to ten bits (TF32), and coarser
    arithmetic is what the mixed precisions are for. No more of a GPU's memory is allocated than is needed, since
    another trial of a sweep, or a prediction next to a training, may share it.

    Raises:
        UserError: TensorFlow already runs with another number of threads or other kernels, or Keras with another
            backend.
    """
    tf = import_tensorflow(config.kernels)
    if fault := difference(config.kernels):
        raise UserError(fault)
    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # TensorFlow already runs, with the memory that it has allocated
            tf.config.experimental.set_memory_growth(gpu, True)
    threads = int(config.threads)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    except RuntimeError as error:
        running = tf.config.threading.get_intra_op_parallelism_threads()
        if running != threads:
            raise UserError(f"threads={threads}: this process already runs with {running}; start a new one") from error
    if config.deterministic:
        tf.config.experimental.enable_op_determinism()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    _seed_tensorflow()
    set_keras(config.precision)
    tf.config.run_functions_eagerly(False)  # a caller who debugs may have set it; single operations give other bits


@functools.cache
def _seed_tensorflow() -> None:
    """Set TensorFlow's own seed, without which operations do not run under op determinism. No result depends on it.

    Once in a process: setting it makes TensorFlow compile every graph again.
    """
    import_keras().utils.set_random_seed(0)


def strategy(config: Config) -> Any:
    """TensorFlow's distribution strategy: all GPUs share each batch if there are several.

    Raises:
        UserError: they cannot share a batch evenly, or have to accumulate gradients, which Keras does on one GPU only.
    """
    tf = import_tensorflow()
    gpus = len(tf.config.list_physical_devices("GPU"))
    if gpus < 2:
        return tf.distribute.get_strategy()
    faults, accumulate = [], config.optimizer.accumulate
    if config.batch_size % gpus:
        faults.append(
            f"batch_size={config.batch_size}: {gpus} GPUs share each batch; a multiple of {gpus} expected, or fewer "
            "GPUs (CUDA_VISIBLE_DEVICES)"
        )
    if accumulate > 1:
        faults.append(
            f"optimizer.accumulate={accumulate}: gradients are accumulated on one GPU only, and there are {gpus}; 1 "
            "expected, or one GPU (CUDA_VISIBLE_DEVICES=0)"
        )
    if faults:
        raise UserError(*faults)
    return _all_gpus()


@functools.cache
def _all_gpus() -> Any:
    """One strategy for all runs of this process: a compiled network's variables belong to the one it was built in."""
    return import_tensorflow().distribute.MirroredStrategy()


def describe() -> dict[str, str]:
    """What results may depend on besides configuration, data and code: the machine and the build of TensorFlow."""
    tf = import_tensorflow()
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {
        "cpu": cpu_field("model name") or "unknown",
        "gpus": ", ".join(gpus) or "none",
        "processors": str(processors()),
        "platform": platform.platform(),
        "tensorflow build": ", ".join(f"{key} {value}" for key, value in sorted(tf.sysconfig.get_build_info().items())),
        "threads": f"{tf.config.threading.get_intra_op_parallelism_threads()} within an operation, "
        f"{tf.config.threading.get_inter_op_parallelism_threads()} between operations",
    }


def _precision() -> str:
    """What `precision=auto` stands for; see `resolve_auto`."""
    tf = import_tensorflow()
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    if not capabilities:
        return "mixed_bfloat16" if {"avx512_bf16", "amx_bf16"} & set(cpu_field("flags").split()) else "float32"
    lowest = min(capabilities)
    if lowest >= (8, 0):
        return "mixed_bfloat16"
    return "mixed_float16" if lowest >= (7, 0) else "float32"
