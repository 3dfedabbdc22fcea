"""TensorFlow brought up as the configuration asks: quietly, with so many threads, deterministic, in a precision."""

from __future__ import annotations

import contextlib
import os
import platform
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.runtime.errors import UserError

if TYPE_CHECKING:
    from pipeline.config.schema import Config


def import_tensorflow() -> Any:
    """TensorFlow, without the lines that its libraries print at import and at the first operation.

    They go to file descriptor 2 past Python, and TF_CPP_MIN_LOG_LEVEL does not stop them. If the import fails, what was
    printed is shown.
    """
    if "tensorflow" in sys.modules:
        return sys.modules["tensorflow"]
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            import tensorflow as tf

            tf.config.list_physical_devices()
            return tf
        except Exception:
            printed.seek(0)
            os.write(kept, printed.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def resolve_auto(config: Config) -> Config:
    """The configuration with `auto` replaced by a fixed rule on the hardware's capabilities, never by a timing.

    precision: on GPUs mixed_bfloat16 from compute capability 8.0 on, mixed_float16 from 7.0 on; on processors that
    multiply bfloat16 in hardware (AVX512_BF16, AMX_BF16) mixed_bfloat16; else float32.
    threads: the processors this process may use.
    """
    threads = config.threads if isinstance(config.threads, int) else _processors()
    precision = _precision() if config.precision == "auto" else config.precision
    return replace(config, threads=threads, precision=precision)


def threads_each(jobs: int) -> int:
    """Threads of each of several processes that work at the same time, so that together they have all processors."""
    return max(1, _processors() // jobs)


def set_up(config: Config) -> None:
    """Set threads, determinism and precision of this process's TensorFlow and Keras.

    Threads can only be set before TensorFlow's first operation; a later run in the same process must want the same.
    float32 is float32 on GPUs too, whose convolutions would otherwise keep ten bits of it (TF32): what was asked for
    coarser is asked for as a mixed precision. Of a GPU's memory no more is taken than is needed, since another trial of
    a sweep, or a prediction beside a training, may share it.

    Raises:
        UserError: TensorFlow already runs with another number of threads.
    """
    tf = import_tensorflow()
    import keras

    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # TensorFlow already runs, with the memory that it has taken
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
    keras.utils.clear_session()  # forgets the graphs of an earlier run in this process
    keras.utils.set_random_seed(config.seed)  # op determinism refuses to run without one
    keras.config.set_dtype_policy(config.precision)


def strategy(config: Config) -> Any:
    """How training is spread: over all GPUs where there are several, else not at all.

    Raises:
        UserError: they cannot share a batch evenly, or should accumulate gradients, which Keras does on one device.
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
            f"optimizer.accumulate={accumulate}: gradients are accumulated on one GPU only, and here are {gpus}; 1 "
            "expected, or one GPU (CUDA_VISIBLE_DEVICES=0)"
        )
    if faults:
        raise UserError(*faults)
    return tf.distribute.MirroredStrategy()


def describe() -> dict[str, str]:
    """What the results may depend on beside configuration, data and code: machine and TensorFlow build."""
    tf = import_tensorflow()
    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    return {
        "cpu": _cpu_field("model name") or "unknown",
        "gpus": ", ".join(gpus) or "none",
        "processors": str(_processors()),
        "platform": platform.platform(),
        "tensorflow build": ", ".join(f"{key} {value}" for key, value in sorted(tf.sysconfig.get_build_info().items())),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "threads": f"{tf.config.threading.get_intra_op_parallelism_threads()} within an operation, "
        f"{tf.config.threading.get_inter_op_parallelism_threads()} between operations",
    }


def _processors() -> int:
    """Those that this process may use; a job of SLURM may be promised fewer than its node lets it use."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    promised = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return min(allowed, int(promised)) if promised.isdigit() and int(promised) > 0 else allowed


def _precision() -> str:
    tf = import_tensorflow()
    capabilities = [
        tf.config.experimental.get_device_details(gpu).get("compute_capability", (0, 0))
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    if capabilities:
        return (
            "mixed_bfloat16"
            if min(capabilities) >= (8, 0)
            else "mixed_float16"
            if min(capabilities) >= (7, 0)
            else "float32"
        )
    return "mixed_bfloat16" if {"avx512_bf16", "amx_bf16"} & set(_cpu_field("flags").split()) else "float32"


def _cpu_field(name: str) -> str:
    """A field of the first processor in Linux's /proc/cpuinfo; empty elsewhere."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")
