"""Environment variables that TensorFlow and the libraries below it read, and that may change the bits of a result."""

import os
from collections.abc import Mapping

ONEDNN = "TF_ENABLE_ONEDNN_OPTS"
UNSET = "default"  # what is recorded of ONEDNN where it is not set, so that no record is empty
# By their first characters. Not every TF_…: Terraform has secrets in TF_VAR_….
PREFIXES = (
    "TF_ENABLE_", "TF_DISABLE_", "TF_DETERMINISTIC_OPS", "TF_CUDNN_", "TF_CUBLAS_", "TF_XLA_", "TF_NUM_INTEROP_THREADS",
    "TF_NUM_INTRAOP_THREADS", "TF_ONEDNN_", "TF_SET_ONEDNN_", "TF_MKL_", "TF_USE_", "TF_FP16_", "TF_OVERRIDE_",
    "XLA_", "ONEDNN_", "DNNL_", "OMP_", "KMP_", "MKL_", "OPENBLAS_", "NPY_", "GLIBC_TUNABLES", "CUDNN_", "CUBLAS_",
    "NVIDIA_TF32_OVERRIDE",
)  # fmt: skip
ONLY_PRINT = ("_VERBOSE", "_DISPLAY_ENV", "_WARNINGS", "_JIT_DUMP")  # by their last characters


def deciding_variables(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variables that are set and may change bits, by name, and whether oneDNN was switched."""
    found = {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith(PREFIXES) and not name.endswith(ONLY_PRINT)
    }
    return {ONEDNN: UNSET} | found
