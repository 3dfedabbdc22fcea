"""Fixtures of the tests of networks."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def float32_is_float32() -> None:
    """No TensorFloat-32 on GPUs, as in a run."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
