"""Which environment variables are recorded with a run."""

import pytest

from pipeline.runtime.variables import deciding_variables


@pytest.mark.parametrize(
    "name",
    ["TF_DETERMINISTIC_OPS", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA", "ONEDNN_DEFAULT_FPMATH_MODE", "XLA_FLAGS",
     "TF_XLA_FLAGS", "TF_CUDNN_USE_AUTOTUNE", "NVIDIA_TF32_OVERRIDE", "OMP_NUM_THREADS", "TF_NUM_INTEROP_THREADS",
     "TF_NUM_INTRAOP_THREADS", "MKL_NUM_THREADS", "KMP_BLOCKTIME", "TF_DISABLE_MKL"],
)  # fmt: skip
def test_variables_that_may_change_bits_are_recorded(name: str) -> None:
    assert deciding_variables({name: "1", "HOME": "/root"}) == {"TF_ENABLE_ONEDNN_OPTS": "default", name: "1"}


@pytest.mark.parametrize("name", ["TF_VAR_password", "TF_CPP_MIN_LOG_LEVEL", "ONEDNN_VERBOSE", "TF_CLI_CONFIG_FILE"])
def test_secrets_and_what_only_prints_are_not_recorded(name: str) -> None:
    assert deciding_variables({name: "1"}) == {"TF_ENABLE_ONEDNN_OPTS": "default"}


def test_a_switch_of_onednn_is_recorded() -> None:
    assert deciding_variables({"TF_ENABLE_ONEDNN_OPTS": "0"}) == {"TF_ENABLE_ONEDNN_OPTS": "0"}
