"""How much of its time training waits for its input: the share that passes in the stream's `next`.

Steps are taken one by one, by Keras's own train step, while tf.data continues with the batches to come as in a run.
"""

import time
from dataclasses import replace

import numpy as np

from pipeline.config.overrides import checked_config
from pipeline.data.stream import training_stream
from pipeline.data.training_images import training_images
from pipeline.model.build import build_network
from pipeline.model.losses import SegmentationLoss
from pipeline.runtime.hardware import resolve_auto, set_up
from pipeline.train.optimizers import WarmupSchedule, build_optimizer
from tests.benchmarks.contenders.examples import NOWHERE, examples_of
from tests.benchmarks.contenders.repeats import serve, settings

wanted = settings()
config = resolve_auto(checked_config([*wanted["options"], f"threads={wanted['threads']}"]))
config = replace(config, epochs=100_000)  # the stream does not end before the measuring does
set_up(config)
examples, sizes = examples_of(wanted)
images = training_images(examples, sizes, config.long_side, wanted["cache_mb"], NOWHERE)
network = build_network(config)
schedule = WarmupSchedule(config.schedule, config.optimizer.learning_rate, 1000, 100)
weights = np.ones(len(config.dataset.classes), np.float32)
network.compile(build_optimizer(config.optimizer, schedule), SegmentationLoss(config.loss, weights))
batches = iter(training_stream(images, len(examples), config))


def work() -> float:
    """In seconds of waiting, times 100: what `serve` makes of it is a percentage."""
    waited = 0.0
    for _ in range(wanted["steps"]):
        began = time.perf_counter()
        batch = next(batches)
        waited += time.perf_counter() - began
        network.train_on_batch(*batch)
    return 100 * waited


serve(work)
