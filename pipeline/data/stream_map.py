"""The one way in which tf.data works on several examples at once."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def parallel_map(dataset: tf.data.Dataset, function: Callable[..., Any]) -> tf.data.Dataset:
    """Map with as many workers as TensorFlow has threads; the results come in the dataset's order.

    The number is not left to tf.data's tuner: it looks again 10, 30, 70, 150 … ms after an iterator's beginning, each
    time after twice as long, and mostly misses that the iterator ends (`CancellationManager` wakes it before it says
    that it cancelled). The end then waits for the next look: a pass of 2.8 s took 5.2 s.

    The function is traced as it is written: rewriting it first, for conditions and loops over tensors that these
    functions do not have, takes longer than tracing it.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    function = tf.autograph.experimental.do_not_convert(function)
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).with_options(options)
