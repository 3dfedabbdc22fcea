"""A network with the graphs that train and score it, which later runs of the process use too where they fit."""

import gc
from dataclasses import asdict, dataclass

import keras
import numpy as np
from tensorflow.python.framework import ops

from pipeline.config.schema import Config
from pipeline.data.prepare import Dataset, class_weights
from pipeline.data.stream import steps_per_epoch
from pipeline.evaluate.evaluator import BatchScorer
from pipeline.model.build import InitialWeights, build_network, renew_network
from pipeline.model.losses import SegmentationLoss
from pipeline.model.tta import Views
from pipeline.model.weights import Arrays
from pipeline.train.optimizers import WarmupSchedule, build_optimizer, set_weight_decay, training_schedule
from pipeline.train.state import reset_optimizer, training_arrays

CUSTOM_GRADIENT = "CustomGradient-"  # how TensorFlow names the gradients of operations that bring their own
MOST_NETWORKS, MOST_PARAMETERS = 4, 50_000_000  # with the moments of Adam, these parameters take 600 MB


@dataclass(frozen=True)
class CompiledNetwork:
    """A network whose training step and scoring are compiled at their first call."""

    model: keras.Model  # (batch, height, width, 3) uint8 -> (batch, height, width, classes) float32 logits
    schedule: WarmupSchedule
    scorer: BatchScorer
    _initial_optimizer: Arrays  # its state before the first step

    @staticmethod
    def of(model: keras.Model, schedule: WarmupSchedule, loss: SegmentationLoss, config: Config) -> "CompiledNetwork":
        """Compile a network that has its initial weights."""
        with model.distribute_strategy.scope():  # the optimizer's variables lie on the network's devices
            model.compile(optimizer=build_optimizer(config.optimizer, schedule), loss=loss)
            # Otherwise the first step would create the optimizer's variables while it is traced, and be traced twice.
            model.optimizer.build(model.trainable_variables)
        initial = training_arrays(model)["optimizer.npz"]
        return CompiledNetwork(model, schedule, BatchScorer(model, loss, config), initial)

    def renew(self, config: Config, schedule: WarmupSchedule, initial: InitialWeights | None) -> None:
        """Become as if just built and compiled for a configuration.

        Raises:
            UserError: the initial weights belong to another network.
        """
        renew_network(self.model, config, initial)
        reset_optimizer(self.model, self._initial_optimizer)
        self.schedule.become(schedule)
        set_weight_decay(self.model.optimizer, config.optimizer)


class NetworkCache:
    """Compiled networks of this process's latest runs, by what their graphs depend on.

    Tracing and optimizing the graphs takes seconds. What a graph does not depend on (learning rates, weight decay,
    rates of dropout, initial weights, states of random generators) it reads from variables, in every run: so a run has
    the same bits whether its network was compiled for it or for an earlier run.
    """

    def __init__(self) -> None:
        self._networks: dict[str, CompiledNetwork] = {}  # the one used last comes last
        self._forgot = False  # a network whose memory is not released yet

    def network(self, config: Config, dataset: Dataset, initial: InitialWeights | None = None) -> CompiledNetwork:
        """The network of a configuration with its initial weights, compiled for training on a dataset.

        Args:
            initial: weights to start from; None: random weights.

        Raises:
            UserError: the weights belong to another network.
        """
        weights = class_weights(config.loss, dataset)
        schedule = training_schedule(config, steps_per_epoch(len(dataset.splits["train"]), config))
        key = _compiled_for(config, weights)
        found = self._networks.pop(key, None)
        if found is None:
            loss = SegmentationLoss(config.loss, weights)
            found = CompiledNetwork.of(build_network(config, initial), schedule, loss, config)
        else:
            found.renew(config, schedule, initial)
        self._networks[key] = found
        self._forget_oldest()
        return found

    def clear(self) -> None:
        """Forget all networks."""
        self._forgot = self._forgot or bool(self._networks)
        self._networks.clear()

    def release_memory(self) -> None:
        """Release the memory of a run that has ended, and of forgotten networks."""
        if self._forgot:
            drop_graphs()
            self._forgot = False
        else:
            gc.collect()

    def _forget_oldest(self) -> None:
        def parameters() -> int:
            return sum(network.model.count_params() for network in self._networks.values())

        while len(self._networks) > 1 and (len(self._networks) > MOST_NETWORKS or parameters() > MOST_PARAMETERS):
            del self._networks[next(iter(self._networks))]
            self._forgot = True


def drop_graphs() -> None:
    """Release everything that TensorFlow and Keras keep of graphs that are not used any more.

    TensorFlow registers each custom gradient of each graph under a new name and for ever, and with it the graph: 90
    graphs and 20 MB for each tiny network. Graphs in use lose what was compiled for them, which takes half a second
    when they are called again.
    """
    keras.utils.clear_session(free_memory=False)
    registered = ops.gradient_registry._registry
    for name in [name for name in registered if name.startswith(CUSTOM_GRADIENT)]:
        del registered[name]
    gc.collect()  # graphs refer to themselves in cycles


def _compiled_for(config: Config, weights: np.ndarray) -> str:
    """All that is a constant in the graphs of a training step and of scoring."""
    optimizer = asdict(config.optimizer)
    optimizer |= {"learning_rate": None, "weight_decay": bool(config.optimizer.weight_decay)}
    model = asdict(config.model) | {"encoder_weights": None, "dropout": bool(config.model.dropout)}
    shapes = config.image_size, config.batch_size, len(config.dataset.classes)
    loss = asdict(config.loss), weights.tolist()
    return repr((model, optimizer, shapes, loss, config.precision, Views.of(config)))
