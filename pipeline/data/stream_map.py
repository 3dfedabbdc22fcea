"""How every stream of this project works on several examples at once with tf.data."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf


def parallel_map(dataset: tf.data.Dataset, function: Callable[..., Any]) -> tf.data.Dataset:
    """Map with as many workers as TensorFlow has threads; the results come in the dataset's order.

    The number of workers is not left to tf.data's tuner. The tuner wakes up 10, 30, 70, 150 … ms after an iterator
    starts, each time after twice as long, and mostly misses that the iterator ends (`CancellationManager` wakes it
    before it reports the cancellation). The end then waits for the tuner's next turn: a pass of 2.8 s took 5.2 s.

    Autograph is off: it would rewrite conditions and loops over tensors, which these functions do not have, and that
    takes longer than tracing them.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    function = tf.autograph.experimental.do_not_convert(function)
    return dataset.map(function, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).with_options(options)
