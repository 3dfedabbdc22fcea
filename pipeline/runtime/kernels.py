"""Which library computes networks on the processor, oneDNN or Eigen: TensorFlow decides it once, when it is imported.

By itself it has oneDNN on only with instructions for neural networks, though without them oneDNN trains faster as well.
"""

import functools
import os
import sys
from pathlib import Path

from pipeline.runtime.variables import ONEDNN as VARIABLE

ONEDNN, EIGEN, TENSORFLOW = "onednn", "eigen", "tensorflow"
VALUES = {ONEDNN: "1", EIGEN: "0"}  # of the variable; for `tensorflow` it stays as it is
ROUNDED = "logits are rounded differently, and pixels between two classes may change"
SWITCHES = {"1": True, "true": True, "0": False, "false": False}  # other values TensorFlow ignores
# With any of these TensorFlow has oneDNN on by itself (`IsMKLEnabled` in tensorflow/core/util/util.cc).
NEURAL = {"avx512_vnni", "avx512_bf16", "avx_vnni", "amx_tile", "amx_int8", "amx_bf16"}


def resolve(kernels: str) -> str:
    """What a value of the key `kernels` stands for on this processor.

    `auto` is what the environment says, if it says something (TF_ENABLE_ONEDNN_OPTS); else onednn on processors with
    AVX2, which all that have AVX-512 have too; else tensorflow, its own choice, since no others were tried.
    """
    if kernels != "auto":
        return kernels
    if (switched := _switched()) is not None:
        return ONEDNN if switched else EIGEN
    return ONEDNN if "avx2" in _flags() else TENSORFLOW


def switch(kernels: str) -> None:
    """Have TensorFlow import with these kernels. The variable stays set: it is recorded, and inherited by processes.

    Args:
        kernels: resolved. They win over a user's variable, and a line on stderr says so.
    """
    wanted = VALUES.get(kernels)
    if wanted is None or _switched() is SWITCHES[wanted]:
        return
    if (given := os.environ.get(VARIABLE)) is not None:
        print(f"note: {VARIABLE}={given} is not used, since the run has kernels={kernels}", file=sys.stderr)
    os.environ[VARIABLE] = wanted


@functools.cache
def in_use() -> str:
    """The kernels, onednn or eigen, that this process's TensorFlow has."""
    from tensorflow.python.util import _pywrap_util_port

    return ONEDNN if _pywrap_util_port.IsMklEnabled() else EIGEN


def difference(kernels: str) -> str | None:
    """Why this process's TensorFlow does not have these kernels, in a line; None if it has them."""
    kernels = resolve(kernels)
    wanted, found = kernels, in_use()
    if kernels == TENSORFLOW:
        switched = _switched()
        wanted = ONEDNN if (bool(NEURAL & _flags()) if switched is None else switched) else EIGEN
    if wanted == found:
        return None
    return (
        f"kernels={kernels}: {wanted} expected, but TensorFlow was imported in this process with {found}, which cannot "
        f"be changed any more; start a new process, or set {VARIABLE}={VALUES[wanted]} before TensorFlow is imported "
        "(builds for other processors than x86 may not have oneDNN)"
    )


@functools.cache
def onednn_without_avx512() -> bool:
    """Whether networks are computed by oneDNN on a processor without AVX-512, where some of its kernels are slow."""
    import tensorflow as tf

    on_cpu = not tf.config.list_physical_devices("GPU")
    return on_cpu and in_use() == ONEDNN and "avx512f" not in _flags()


def cpu_field(name: str) -> str:
    """A field of the first processor in /proc/cpuinfo; empty on other systems than Linux."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _switched() -> bool | None:
    """Whether the environment switches oneDNN on or off; None if neither."""
    return SWITCHES.get(os.environ.get(VARIABLE, "").lower())


def _flags() -> set[str]:
    """The instruction sets of this processor, as Linux names them."""
    return set(cpu_field("flags").split())
