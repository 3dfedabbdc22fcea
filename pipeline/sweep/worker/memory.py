"""What keeps a warm process from growing with every trial."""

import gc

import keras
from tensorflow.python.framework import ops

CUSTOM = "CustomGradient-"  # how TensorFlow names the gradients of operations that bring their own


def forget_trial() -> None:
    """Let go of everything that the last trial built.

    TensorFlow registers each custom gradient of each graph under a new name and for ever, and with it the graph: 90
    graphs and 20 MB for each trial of a tiny network. Once the graphs are not used any more nobody asks for them.
    """
    keras.utils.clear_session()
    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith(CUSTOM)]:
        del registered[name]
    gc.collect()  # graphs hold themselves in cycles
