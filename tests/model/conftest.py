"""What the tests of networks share."""

import pytest


@pytest.fixture(scope="session", autouse=True)
def float32_is_float32() -> None:
    """On GPUs too, as in a run."""
    import tensorflow as tf

    tf.config.experimental.enable_tensor_float_32_execution(False)
